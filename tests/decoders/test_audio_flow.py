import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tonggan.decoders.audio_flow import AudioFlow, AudioFlowConfig
from tonggan.decoders.flow_sampling import led_field
from tonggan.decoders.vocoder import Vocoder, VocoderConfig, corrected, griffin_lim, spectral_distance
from tonggan.errors import UserError
from tonggan.goals import DistilConfig
from tonggan.latent.record import Latent, at_instants
from tonggan.modalities.spectrogram import Mel, log_mel
from tonggan.modalities.video import open_clip
from tonggan.pipeline import Tonggan

SMALL = AudioFlowConfig(
    clip_seconds=0.64, latent_width=8, width=32, layers=1, heads=2, num_inference_steps=4, vocoder=VocoderConfig(width=16, layers=1)
)


def seen(rows: int, *, seed: int = 0, seconds: bool = True) -> Latent:
    tokens = torch.randn(rows, 16, 8, generator=torch.Generator().manual_seed(seed))
    when = torch.arange(16) / 25 if seconds else None
    return Latent(tokens, torch.ones(rows, 16, dtype=torch.bool), torch.nn.functional.normalize(tokens.mean(1), dim=-1), when)


def chirps(rows: int = 2, samples: int = 10_240) -> torch.Tensor:
    seconds = torch.arange(samples) / 16_000
    return torch.stack([0.5 * torch.sin(2 * torch.pi * (300 + 200 * row + 800 * seconds) * seconds) * (seconds > 0.1) for row in range(rows)])


def made(config: AudioFlowConfig = SMALL) -> AudioFlow:
    torch.manual_seed(0)
    decoder = AudioFlow(config)
    for parameter in decoder.network.parameters():
        if not parameter.any():  # what starts at zero would make every prediction the same
            torch.nn.init.normal_(parameter, std=0.1)
    decoder.fit(iter(chirps()))
    return decoder


def frames(decoder: AudioFlow, latent: Latent, **given: torch.Tensor) -> torch.Tensor:
    levels: list[torch.Tensor] = []
    decoder.voice = lambda found: levels.append(found) or torch.zeros(len(found), decoder.samples)  # type: ignore[method-assign, func-returns-value]
    with torch.no_grad():
        settings = decoder.default_settings() | {"guidance_scale": 1.0}
        decoder.generate(latent, against=latent, seeds=list(range(len(latent))), settings=settings, **given)
    return levels[0]


def test_what_is_seen_is_brought_to_its_instant() -> None:
    latent = seen(2)
    instants = torch.tensor([-1.0, 0.0, 0.06, 0.08, 9.0])
    found = at_instants(latent, instants)
    wanted = torch.stack(
        [latent.tokens[:, 0], latent.tokens[:, 0], (latent.tokens[:, 1] + latent.tokens[:, 2]) / 2, latent.tokens[:, 2], latent.tokens[:, 15]], 1
    )
    torch.testing.assert_close(found, wanted)


def test_a_frame_changes_the_sound_of_its_own_moment_first() -> None:
    decoder = made()
    latent = seen(1)
    other = latent.tokens.clone()
    other[:, 8] = 5.0
    network = decoder.network
    one, two = (network.prepare(Latent(tokens, latent.mask, latent.pooled, latent.seconds)) for tokens in (latent.tokens, other))
    assert one.seen is not None
    assert two.seen is not None
    change = (one.seen - two.seen).abs().sum(-1)[0]
    instants = network.instants(len(change), change.device)
    assert (change[(instants - 8 / 25).abs() > 0.04] == 0).all()
    assert change.max() > 0


def test_a_masked_token_is_not_seen() -> None:
    decoder, latent = made(), seen(1)
    mask = latent.mask.clone()
    mask[:, 5] = False
    other = latent.tokens.clone()
    other[:, 5] = 9.0
    one, two = (frames(decoder, Latent(tokens, mask, latent.pooled, latent.seconds)) for tokens in (latent.tokens, other))
    torch.testing.assert_close(one, two)


def test_a_condition_without_time_needs_attention() -> None:
    latent = seen(2, seconds=False)
    with pytest.raises(UserError, match="neither aligned nor attends"):
        made(SMALL.model_copy(update={"aligned": False}))
    decoder = made(SMALL.model_copy(update={"attends": True}))
    assert (frames(decoder, latent)[0] - frames(decoder, seen(2, seed=1, seconds=False))[0]).abs().max() > 1e-3


@pytest.mark.parametrize("way", [{"told_by": "modulation"}, {"aligned": False, "attends": True}, {"attends": True, "told_by": "modulation"}])
def test_other_ways_to_tell_what_is_seen_know_when(way: dict[str, object]) -> None:
    decoder, latent = made(SMALL.model_copy(update=way)), seen(2)
    assert latent.seconds is not None
    later = replace(latent, seconds=latent.seconds + 0.2)
    backwards = replace(latent, tokens=latent.tokens.flip(1))
    for other in (later, backwards):
        assert (frames(decoder, latent) - frames(decoder, other)).abs().max() > 1e-2


PROMPTED = SMALL.model_copy(update={"prompt": "text", "layers": 2})


def test_a_prompt_changes_nothing_until_it_is_learned() -> None:
    without = made(SMALL.model_copy(update={"layers": 2}))
    grown = AudioFlow(PROMPTED)
    missing, unknown = grown.load_state_dict(without.state_dict(), strict=False)
    assert unknown == []
    assert all(".look" in name or ".asked" in name for name in missing)
    assert missing
    latent = seen(2)
    torch.testing.assert_close(frames(grown, replace(latent, prompt=seen(2, seed=5, seconds=False))), frames(without, latent))


def test_a_prompt_is_followed_and_its_padding_is_not() -> None:
    decoder, latent, said = made(PROMPTED), seen(2), seen(2, seed=5, seconds=False)
    mask = said.mask.clone()
    mask[:, 9:] = False
    padded = said.tokens.clone()
    padded[:, 9:] = 7.0
    cut, other = (replace(said, tokens=tokens, mask=mask) for tokens in (said.tokens, padded))
    one, two = (frames(decoder, replace(latent, prompt=prompt)) for prompt in (cut, other))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    assert (one - frames(decoder, replace(latent, prompt=seen(2, seed=6, seconds=False)))).abs().max() > 1e-2
    pooled = replace(cut, pooled=cut.pooled.flip(0))
    assert (one - frames(decoder, replace(latent, prompt=pooled))).abs().max() > 1e-2


def test_a_prompt_is_led_to_by_a_scale_of_its_own() -> None:
    decoder, said = made(PROMPTED), seen(2, seed=5, seconds=False)
    latent, against = replace(seen(2), prompt=said), replace(seen(2, seed=7), prompt=seen(2, seed=8, seconds=False))
    x, t = torch.randn(2, decoder.config.mel.bands, 80), torch.tensor(0.3)

    def field(**given: float | None) -> torch.Tensor:
        settings = decoder.default_settings() | {"guidance_interval": (0.0, 1.0)} | given
        with torch.no_grad():
            return led_field(decoder.network, latent, against, settings)(x, t)

    alone = field(guidance_scale=1.0)
    torch.testing.assert_close(field(guidance_scale=1.0, prompt_guidance_scale=1.0), alone, rtol=1e-4, atol=1e-4)
    as_one = field(guidance_scale=3.0)
    torch.testing.assert_close(field(guidance_scale=3.0, prompt_guidance_scale=3.0), as_one, rtol=1e-4, atol=1e-4)
    unprompted = field(guidance_scale=3.0, prompt_guidance_scale=0.0)
    torch.testing.assert_close(field(guidance_scale=3.0, prompt_guidance_scale=6.0), 2 * as_one - unprompted, rtol=1e-3, atol=1e-3)
    assert (as_one - unprompted).abs().max() > 1e-2


def test_words_alone_are_looked_at() -> None:
    decoder, said = made(PROMPTED), seen(2, seconds=False)
    other = replace(said, tokens=said.tokens.flip(0))
    assert (frames(decoder, said) - frames(decoder, other)).abs().max() > 1e-2


def test_a_row_is_made_from_its_own_seed_alone() -> None:
    decoder, latent = made(), seen(3)
    whole = frames(decoder, latent)
    alone = frames(decoder, Latent(latent.tokens[:1], latent.mask[:1], latent.pooled[:1], latent.seconds))
    torch.testing.assert_close(whole[:1], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("solver", ["euler", "multistep", "dpm", "ancestral"])
def test_a_sound_goes_on_from_its_beginning(solver: str) -> None:
    decoder = made(SMALL.model_copy(update={"solver": solver}))
    start = chirps(1, 4096)
    found = frames(decoder, seen(1), start=start)
    wanted = log_mel(start, Mel())[..., :-2]
    held = start.shape[1] // 128 - round(decoder.taken_over * decoder.samples / 128)
    torch.testing.assert_close(found[..., :held], wanted[..., :held], rtol=1e-3, atol=1e-3)
    apart = (found[..., held : wanted.shape[-1]] - wanted[..., held:]).abs().mean((0, 1))
    assert 0 < apart[0] < 0.25 * apart[-1]  # the new takes over little by little


def test_the_loss_leaves_out_what_is_frozen() -> None:
    decoder, target = made(), chirps()
    assert set(decoder.loss(seen(2), target, randomness=torch.Generator().manual_seed(0)).terms) == {"flow", "mel", "spectra"}
    assert decoder.vocoder is not None
    decoder.vocoder.requires_grad_(False)
    assert set(decoder.loss(seen(2), target, randomness=torch.Generator().manual_seed(0)).terms) == {"flow"}
    with pytest.raises(UserError, match="and clip_seconds alike"):
        decoder.loss(seen(2), target[:, :-128], randomness=torch.Generator())
    with pytest.raises(UserError, match="not a multiple of 512 samples"):
        AudioFlow(SMALL.model_copy(update={"clip_seconds": 0.65}))


def test_griffin_lim_finds_a_waveform_of_the_spectrogram() -> None:
    truth = chirps()
    levels = log_mel(truth, Mel())
    found = griffin_lim(levels, Mel())
    assert found.shape == truth.shape
    one, other = (np.exp(log_mel(each, Mel()).numpy()) for each in (found, truth))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.95
    assert spectral_distance(truth, truth) < 1e-3 < spectral_distance(found, truth)


def test_a_waveform_is_brought_nearer_to_the_spectrogram_that_it_was_made_from() -> None:
    truth = chirps()
    levels = log_mel(truth, Mel())

    def distance(waveform: torch.Tensor) -> float:
        return float((log_mel(waveform, Mel()) - levels).abs().mean())

    made = griffin_lim(levels, Mel())
    brought = [corrected(made, levels, Mel(), iterations=iterations) for iterations in (0, 2, 6)]
    torch.testing.assert_close(brought[0], made)
    assert distance(brought[2]) < distance(brought[1]) < 0.8 * distance(made)
    louder = corrected(truth / 4, levels, Mel(), iterations=8)
    torch.testing.assert_close(louder[:, : -Mel().window_length], truth[:, : -Mel().window_length], rtol=0, atol=0.02)
    silence = torch.zeros_like(truth)
    assert corrected(silence, levels, Mel(), iterations=6).isfinite().all()
    assert not corrected(silence, log_mel(silence, Mel()), Mel(), iterations=6).any()


def test_a_vocoder_learns() -> None:
    torch.manual_seed(0)
    vocoder = Vocoder(VocoderConfig(width=32, layers=1, segment_seconds=0.256), Mel())
    optimizer = torch.optim.AdamW(vocoder.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        loss = vocoder.play(chirps(), randomness=torch.Generator().manual_seed(step)).own.total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.6 * losses[0]
    assert vocoder(log_mel(chirps(), Mel())).shape == chirps().shape


def test_the_weights_that_ship_sound_as_they_did() -> None:
    model = Tonggan.from_pretrained("foley")
    clip = open_clip(Path(__file__).parents[2] / "docs" / "clip.mp4", model.framing)
    levels = log_mel(torch.from_numpy(model.generate(clip, to="audio", seed=7)[0].samples[0]), Mel())
    coarse = levels.unflatten(0, (8, 8)).mean(1).unflatten(1, (10, 32)).mean(2)
    golden = torch.tensor(json.loads(Path(__file__).with_name("golden_foley.json").read_text()))  # of 2026-11-29
    torch.testing.assert_close(coarse, golden, rtol=0, atol=0.05)


@pytest.mark.parametrize(("scale", "interval", "differs"), [(1.0, (0.0, 1.0), False), (2.0, (0.0, 0.3), True), (2.0, (0.95, 1.0), False)])
def test_a_student_learns_the_guidance_that_its_teacher_follows(scale: float, interval: tuple[float, float], differs: bool) -> None:
    teacher = made(SMALL.model_copy(update={"guidance_interval": interval}))
    how, randomness = DistilConfig(teacher="", guidance_scale=scale, steps=4, stride=1), torch.Generator().manual_seed(0)
    with torch.no_grad():
        terms = made().distil(seen(8), chirps(8), against=seen(8, seed=9), teacher=teacher, how=how, randomness=randomness)
    assert (float(terms.total) > 1e-3) is differs
    teacher.mean += 1
    with pytest.raises(UserError, match="statistics of the bands"):
        made().distil(seen(2), chirps(), against=seen(2), teacher=teacher, how=how, randomness=randomness)
