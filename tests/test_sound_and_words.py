"""Clips, sounds and captions in one space: arrows between any two of them, prompts, and synchrony."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from rich.console import Console

from tonggan.data.loader import Loader
from tonggan.data.pack import pack
from tonggan.data.synthesis.foley import encode
from tonggan.describing import describe, described_endings, files_in
from tonggan.errors import UserError
from tonggan.evaluation.card import Card
from tonggan.evaluation.request import Request as Evaluation
from tonggan.evaluation.request import judge, repeat
from tonggan.goals import ObjectivesConfig
from tonggan.latent.alignment import agreement
from tonggan.modalities import Framing
from tonggan.modalities.audio import Sound, open_sound
from tonggan.modalities.inspecting import inspect_file
from tonggan.modalities.video import open_clip
from tonggan.model import CrossModalModel, ModelConfig
from tonggan.model_card import model_card
from tonggan.pipeline import Tonggan
from tonggan.sound_of_words import sound_words
from tonggan.sounding import Request, sound_clip
from tonggan.training.fitting import but_refitted
from tonggan.training.recipe import parse_recipe
from tonggan.training.run import Run

SIZE, RATE, FPS = 32, 16_000, 25.0
CAPTIONS = ("a low tone", "a high tone", "a late tone", "an early tone")
RECIPE = {
    "name": "sound-and-words",
    "dtype": "float32",
    "ema_decay": 0.9,
    "data": {"path": "", "size": SIZE, "clip_seconds": 0.64, "hold_out": 0.0},
    "model": {
        "encoders": {
            "video": {"kind": "video_transformer", "size": SIZE, "width": 32, "layers": 1, "heads": 2, "stem_channels": [16, 16, 16]},
            "text": {"kind": "text_transformer", "width": 32, "layers": 1, "heads": 2, "vocabulary": 300},
            "audio": {"kind": "audio_transformer", "width": 32, "layers": 1, "heads": 2},
        },
        "space": {"width": 32, "condition_dropout": 0.0},
        "decoders": {
            "text": {"kind": "text_autoregressive", "latent_width": 32, "width": 32, "layers": 1, "heads": 2, "vocabulary": 300, "languages": ["en"]},
            "audio": {"kind": "audio_flow", "clip_seconds": 0.64, "latent_width": 32, "width": 64, "layers": 2, "heads": 2, "prompt": "text",
                      "look_every": 1, "time_mean": -1.2, "num_inference_steps": 4, "guidance_scale": 1.0, "vocoder": None},
            "image": {"kind": "image_deconv", "size": SIZE, "channels": 16, "latent_width": 32},
        },
    },
    "objectives": {"arrows": {"audio->text": 1.0, "text->audio": 1.0, "video->audio": 1.0, "audio->image": 1.0}},
    "optimizer": {"kind": "muon", "learning_rate": 2e-3, "muon_learning_rate": 4e-3},
    "schedule": {"samples": 1200, "batch_size": 8, "warmup_samples": 80, "decay_share": 0.5},
    "monitor": {"tensorboard": False, "validate_every": 1000, "preview_every": 1000, "checkpoint_every": 1000, "log_every": 1000},
}  # fmt: skip


def heard(number: int) -> np.ndarray:
    seconds = np.arange(round(0.64 * RATE)) / RATE
    hertz, sounds = ((300, True), (2500, True), (900, seconds > 0.32), (1500, seconds < 0.32))[number]
    return (0.3 * np.sin(2 * np.pi * hertz * seconds) * sounds).astype(np.float32)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of a pattern and a sound each, with captions beside them."""
    folder = tmp_path_factory.mktemp("told") / "clips"
    folder.mkdir()
    for number, caption in enumerate(CAPTIONS):
        pattern = np.random.default_rng(number).integers(0, 2, (1, 1, SIZE // 8, SIZE // 8), dtype=np.uint8) * 200
        seen = pattern.repeat(8, 2).repeat(8, 3).repeat(3, 1).repeat(16, 0)
        encode(folder / f"{number}.mp4", seen, Sound(heard(number)[None], RATE), frames_per_second=FPS)
        (folder / f"{number}.txt").write_text(caption)
    return folder


@pytest.fixture(scope="module")
def model(told: Path, tmp_path_factory: pytest.TempPathFactory) -> Tonggan:
    folder = tmp_path_factory.mktemp("sound-and-words")
    settings = copy.deepcopy(RECIPE)
    settings["data"] |= {"path": str(told)}  # type: ignore[operator]
    Run(parse_recipe(settings, where="test"), folder / "run", resume=False, console=Console(quiet=True), cache=folder).train()
    return Tonggan.from_pretrained(folder / "run")


def likeness(made: Sound, number: int) -> float:
    """Return the correlation of band-wise levels with those of a true sound."""
    from tonggan.modalities import modalities

    closeness = modalities()["audio"].closeness
    assert closeness is not None
    return closeness(*(torch.from_numpy(samples)[None] for samples in (made.mono(), heard(number))))[0]


def test_sounds_become_words_and_words_become_sounds(model: Tonggan, told: Path) -> None:
    sounds = [open_sound(told / f"{number}.mp4") for number in range(4)]
    assert model.generate(sounds, to="text") == list(CAPTIONS)
    made = model.generate(list(CAPTIONS), to="audio", seed=3)
    table = np.asarray([[likeness(sound, number) for number in range(4)] for sound in made])
    assert (table.argmax(1) == np.arange(4)).all(), table
    assert (table.diagonal() > 30).all(), table


def test_sounds_become_pictures(model: Tonggan, told: Path) -> None:
    sounds = [open_sound(told / f"{number}.mp4") for number in range(4)]
    made, shown = (
        np.stack([np.asarray(each, dtype=float).reshape(-1) for each in pictures])
        for pictures in (
            model.generate(sounds, to="image"),
            [open_clip(told / f"{number}.mp4", model.framing).frames[8].transpose(1, 2, 0) for number in range(4)],
        )
    )
    assert (np.abs(made[:, None] - shown[None]).mean(2).argmin(1) == np.arange(4)).all()


@pytest.mark.usefixtures("brief_judges")
def test_both_ways_are_evaluated(model: Tonggan, told: Path, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")

    def card(arrow: str) -> Card:
        asked = Evaluation(model=str(tmp_path / "model"), data=str(told), split="train", arrow=arrow)
        return judge(asked, out=tmp_path / arrow.replace("->", "-"))

    said = card("audio->text")
    assert said.figure("exact").value == 1.0
    assert {"text_to_audio_at_1", "audio_to_text_at_1"} < {figure.name for figure in said.figures}
    assert [column.name for column in said.columns] == [
        "nearest training sound by embedding of sounds",
        "nearest training sound by the model's own points",
        "chance",
    ]
    assert (tmp_path / "audio-text" / "report.html").read_text(encoding="utf-8").count("<audio") == 8  # the best two, the worst two, the first four
    heard = card("text->audio")
    others = next(column for column in heard.columns if column.name == "another row's caption")
    assert heard.figure("frechet_distance @ log-mel statistics").value < 1.5 * others.figures[0].value
    again, count, differing = repeat(heard, out=tmp_path / "again")
    assert (count, differing, again.arrow) == (15, [], "text->audio")


def test_a_sound_has_a_point_in_the_space(model: Tonggan, told: Path) -> None:
    sounds = [open_sound(told / f"{number}.mp4") for number in range(4)]
    points = model.encode(sounds)
    assert points.shape == (4, 32)
    torch.testing.assert_close(points.norm(dim=-1), torch.ones(4))
    torch.testing.assert_close(points[1:2], model.encode(sounds[1]))
    assert (points @ points.T - torch.eye(4)).max() < 0.999


def test_a_prompt_goes_beside_a_clip_or_is_left_out(model: Tonggan, told: Path, tmp_path: Path) -> None:
    clip = open_clip(told / "1.mp4", model.framing)
    plain, same, other = (model.generate(clip, to="audio", seed=1, prompt=prompt)[0] for prompt in (None, "a high tone", "a late tone"))
    assert "| prompt | text, beside what audio is made from |" in model_card(model.config)
    for made in (plain, same):
        assert max(range(4), key=lambda number, made=made: likeness(made, number)) == 1  # type: ignore[misc]
    assert np.abs(same.samples - other.samples).max() > 1e-3
    both = model.generate([clip, clip], to="audio", seeds=[1, 1], prompt=["a high tone", "a late tone"])
    for one, alone in zip(both, (same, other), strict=True):
        assert np.abs(one.samples - alone.samples).max() < 1e-3
    guided = model.generate(clip, to="audio", seed=1, prompt="a high tone", negative="a late tone", settings={"guidance_scale": 2.0})[0]
    assert np.abs(guided.samples - same.samples).max() > 1e-3
    with pytest.raises(UserError, match="3 prompts for 1 inputs"):
        model.generate(clip, to="audio", prompt=["a", "b", "c"])
    with pytest.raises(UserError, match="of audio; this model takes text"):
        model.generate(clip, to="audio", prompt=open_sound(told / "1.mp4"))
    with pytest.raises(UserError, match="no prompt from text to audio"):
        model.generate("a late tone", to="audio", prompt="a late tone")
    lines: list[str] = []
    sound_clip(model, told / "1.mp4", tmp_path / "out.wav", request=Request(seed=1, prompt="a late tone"), warn=lines.append)
    assert inspect_file(tmp_path / "out.wav")["provenance"]["prompt"] == "a late tone"
    sound_clip(model, told / "1.mp4", tmp_path / "long.wav", request=Request(prompt="tone " * 80), warn=lines.append)
    assert any("is cut to" in line for line in lines)


def test_a_negative_is_of_what_is_given_or_of_the_prompt(model: Tonggan, told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, other = (open_clip(told / f"{number}.mp4", model.framing) for number in (1, 2))
    led, seen = {"seed": 1, "settings": {"guidance_scale": 2.0}}, []
    decode = model.model.decode
    monkeypatch.setattr(model.model, "decode", lambda latent, **how: (seen.append((latent, how["against"])), decode(latent, **how))[1])
    model.generate(clip, to="audio", negative="a late tone", **led)
    latent, against = seen.pop()
    nothing = model.model.space.null(latent)
    assert torch.equal(against.tokens, nothing.tokens)
    assert torch.equal(against.pooled, nothing.pooled)
    torch.testing.assert_close(against.prompt.pooled.float(), model.encode("a late tone"))
    model.generate(clip, to="audio", negative=other, **led)
    torch.testing.assert_close(seen.pop()[1].pooled.float(), model.encode(other))
    with pytest.raises(UserError, match="the negative is of audio; from video to audio guidance leads away from video or text"):
        model.generate(clip, to="audio", negative=open_sound(told / "2.mp4"), **led)
    with pytest.raises(UserError, match="the negative is of video; from text to audio guidance leads away from text"):
        model.generate("a late tone", to="audio", negative=clip, **led)
    with pytest.raises(UserError, match="has a time and what has none"):
        model.morph(clip, "a late tone", to="audio", frames=2)


def test_words_alone_become_files(model: Tonggan, sounder: Tonggan, tmp_path: Path) -> None:
    lines: list[str] = []
    request = Request(seed=3, prompt="a high tone")
    files = sound_words(model, tmp_path / "tone.wav", n=2, request=request, warn=lines.append, preview=tmp_path / "tone.png")
    assert [file.name for file in files] == ["tone-0.wav", "tone-1.wav"]
    assert lines == []
    sound_words(model, tmp_path / "other.wav", request=replace(request, prompt="an explosion"), warn=lines.append)
    assert lines == ["no caption that the model learned from has 'explosion': it can only guess at that."]
    (tmp_path / "other.wav").unlink()
    for index, file in enumerate(files):
        sound, told = open_sound(file), inspect_file(file)["provenance"]
        assert (told["prompt"], told["seed"], told["size"]) == ("a high tone", 3 + index, None)
        assert max(range(4), key=lambda number, sound=sound: likeness(sound, number)) == 1  # type: ignore[misc]
    assert Image.open(tmp_path / "tone.png").width > 900
    before = sorted(tmp_path.iterdir())
    wrong = [
        (model, "out.mp4", Request(prompt="a high tone"), "words have no pictures. Choose .wav or .flac"),
        (model, "out.xyz", Request(prompt="a high tone"), "not written as"),
        (model, "out.wav", Request(prompt="a high tone", mix=0.5), "--mix is for the sound of a clip"),
        (model, "out.wav", Request(prompt=" "), "caption is empty"),
        (sounder, "out.wav", Request(prompt="a high tone"), "no encoder for .text."),
    ]
    for chosen, name, request, message in wrong:
        with pytest.raises(UserError, match=message):
            sound_words(chosen, tmp_path / name, request=request, warn=print)
    assert sorted(tmp_path.iterdir()) == before


def test_sounds_are_described_beside_what_cannot_be(model: Tonggan, told: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("low.wav", "long.flac", "broken.mp3", "picture.png")]
    sounds = heard(0), np.concatenate([heard(1), np.zeros(RATE, np.float32)])
    soundfile.write(tmp_path / "nan.wav", np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    assert "are no numbers" in next(iter(describe(model, [tmp_path / "nan.wav"]))).problem
    (tmp_path / "nan.wav").unlink()
    for file, samples in zip(files, sounds, strict=False):
        soundfile.write(file, samples, RATE)
    files[2].write_bytes(b"no sound")
    Image.new("RGB", (SIZE, SIZE)).save(files[3])
    assert files_in([tmp_path], described_endings(model)) == sorted(files[:3])
    low, long, broken, picture = describe(model, files)
    assert (low.sentences[0], low.notes) == ("a low tone", ())
    assert long.sentences[0] == "a high tone"
    assert "1.64 s; its first 0.64 s were listened to" in long.notes[0]
    assert "no video or sound that can be read" in broken.problem
    assert "sound-and-words does not describe such files. It takes .wav" in picture.problem


def test_a_prompt_for_a_model_without_prompts_is_one_line(sounder: Tonggan, told: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no prompt from video to audio: it was trained without"):
        sound_clip(sounder, told / "1.mp4", tmp_path / "out.wav", request=Request(prompt="a late tone"), warn=print)
    assert list(tmp_path.iterdir()) == []


def test_what_a_recipe_asks_for_and_cannot_have_is_one_line(told: Path, tmp_path: Path) -> None:
    def run(**changes: object) -> None:
        settings = copy.deepcopy(RECIPE)
        settings["data"] |= {"path": str(told)}  # type: ignore[operator]
        recipe = parse_recipe(settings | changes, where="test")
        Run(recipe, tmp_path / "run", resume=False, console=Console(quiet=True), cache=tmp_path).train()

    def refused(message: str, **changes: object) -> None:
        with pytest.raises(UserError, match=message):
            run(**changes)

    refused("set align, too", objectives={"align_time_shifts": [0.1, 0.2], "arrows": {"audio->text": 1.0}})
    refused("not a shortest and a longest", objectives={"align": 1.0, "align_time_shifts": [0.2, 0.1], "arrows": {"audio->text": 1.0}})
    refused(r"no clip is 0\.1 s longer", objectives={"align": 1.0, "align_time_shifts": [0.1, 0.2], "arrows": {"audio->text": 1.0}})
    decoder = dict(RECIPE["model"]["decoders"]["audio"])  # type: ignore[index]
    refused(
        "no encoder for 'text'", model={"encoders": {"audio": {"kind": "audio_transformer"}}, "space": {"width": 32}, "decoders": {"audio": decoder}}
    )


def test_parts_are_fitted_anew_where_asked(model: Tonggan) -> None:
    parts = list(model.model.parts())
    kept = but_refitted(model.model, parts, ["decoders.audio"])
    assert [part for part in parts if part not in kept] == [model.model.decoders["audio"]]
    with pytest.raises(UserError, match=r"no part 'decoders\.adio'.*Did you mean 'decoders\.audio'"):
        but_refitted(model.model, parts, ["decoders.adio"])


def flashes(folder: Path, *, clips: int, seed: int) -> Path:
    """Clips of 1.6 s in which a light flashes thrice, a click with each."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(clips):
        seen, sound = np.full((40, 3, 16, 16), 40, np.uint8), np.zeros(round(1.6 * RATE), np.float32)
        for frame in random.choice(np.arange(1, 39), 3, replace=False):
            seen[frame, :, 4:12, 4:12] = 230
            sound[frame * 640 : frame * 640 + 480] = 0.3 * random.normal(size=480)
        encode(folder / f"{number}.mp4", seen, Sound(sound[None].clip(-1, 1), RATE), frames_per_second=FPS)
    return folder


def test_the_space_knows_synchrony(tmp_path: Path) -> None:
    torch.manual_seed(0)
    framing = Framing(size=16, clip_seconds=0.96)
    encoders = {
        "video": {"kind": "video_transformer", "size": 16, "width": 32, "layers": 1, "heads": 2, "stem_channels": [16, 16, 16]},
        "audio": {"kind": "audio_transformer", "width": 32, "layers": 1, "heads": 2},
    }
    model = CrossModalModel(ModelConfig(encoders=encoders, space={"width": 32}, decoders={}))  # type: ignore[arg-type]
    objectives = ObjectivesConfig(arrows={}, align=1.0, align_time_shifts=(0.12, 0.6))
    loaders = []
    for name, clips, batch_size in (("known", 24, 16), ("unknown", 32, 32)):
        packed = pack(flashes(tmp_path / name, clips=clips, seed=clips), framing=framing, out=tmp_path / f"{name}-pack")
        loaders.append(Loader(packed, packed.indices("train"), batch_size=batch_size, seed=0, shifts=objectives.shifts()))
    train, test = loaders
    model.fit(lambda: [train.batch(0)])

    def told_apart() -> float:
        batch = test.batch(0)
        assert batch.shifted is not None
        with torch.no_grad():
            seen, true, moved = (
                model.encode(inputs, name).latent
                for inputs, name in ((batch.inputs["video"], "video"), (batch.inputs["audio"], "audio"), (batch.shifted.inputs["audio"], "audio"))
            )
        right = (agreement(seen, true) > agreement(seen, moved)).diagonal()
        return float(right[batch.shifted.real].float().mean())

    before = told_apart()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(60):
        loss = model.loss(train.batch(16 * step), objectives, randomness=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    assert set(loss.terms) == {"align", "align in time"}
    assert told_apart() > 0.85, before


def test_what_the_shipped_weights_say_they_hear() -> None:
    model = Tonggan.from_pretrained("spoken-digits")
    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    voices = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    captions = [f"the spoken digit {digit}, by {voices[number % 6]}" for number, digit in enumerate(digits)]
    heard_again = model.generate(model.generate(captions, to="audio"), to="text")
    assert sum(one == other for one, other in zip(heard_again, captions, strict=True)) >= 9


def test_a_card_tells_of_a_prompt_only_where_something_lies_beside_it() -> None:
    card = model_card(Tonggan.from_pretrained("spoken-digits").config)
    assert "| prompt |" not in card
    assert "picture size" not in card
    assert "| picture size | 64 x 64 |" in model_card(Tonggan.from_pretrained("foley").config)
