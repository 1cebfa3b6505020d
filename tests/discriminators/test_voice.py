import pytest
import torch

from tonggan.discriminators.audio import VoiceConfig, VoiceDiscriminator
from tonggan.discriminators.game import AdversarialConfig, Game
from tonggan.latent.record import Latent
from tonggan.modalities.spectrogram import spectrum
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Played

SMALL = VoiceConfig(channels=8, resolutions=((256, 64), (128, 32)))


def chirps(count: int, samples: int = 4096) -> torch.Tensor:
    begin = torch.rand(count, 1, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.05
    places = torch.arange(samples)
    return 0.4 * torch.sin(begin * places + 2e-5 * places**2) * torch.exp(-places / 2000)


def without_phases(sounds: torch.Tensor) -> torch.Tensor:
    """Sounds of the same magnitudes, whose phases are drawn at random: what a bad vocoder makes."""
    found = spectrum(sounds, window_length=256, hop_length=64)
    turned = torch.polar(found.abs(), 6.28 * torch.rand(found.shape, generator=torch.Generator().manual_seed(1)))
    return torch.istft(torch.cat([turned, turned[..., -1:]], -1), 256, 64, window=torch.hann_window(256), length=sounds.shape[-1])


def latents(count: int) -> Latent:
    return Latent(torch.zeros(count, 1, 4), torch.ones(count, 1, dtype=torch.bool), torch.zeros(count, 4))


@pytest.mark.parametrize("loss", ["hinge", "relativistic"])
def test_it_learns_to_hear_phases_that_do_not_fit(loss: str) -> None:
    torch.manual_seed(0)
    game = Game(AdversarialConfig(loss=loss, penalty=0.0, mismatched=0.0), VoiceDiscriminator(SMALL))
    real = chirps(16)
    made = without_phases(real)
    optimizer = torch.optim.Adam(game.parameters(), lr=2e-3, betas=(0.0, 0.99))
    for step in range(40):
        randomness = torch.Generator().manual_seed(step)
        game.challenge(Played(made, LossTerms({})), latents(16), real, rows=torch.arange(16), randomness=randomness)
        optimizer.zero_grad()
        game.turn(randomness).total.backward()
        optimizer.step()
    with torch.no_grad():
        verdicts = game.discriminator(torch.cat([real, made]), latents(32))[0]
    assert float((verdicts[:16] > verdicts[16:]).float().mean()) > 0.9


def test_silence_has_finite_slopes() -> None:
    torch.manual_seed(0)
    judge = VoiceDiscriminator(SMALL)
    silent = torch.zeros(2, 4096, requires_grad=True)
    judge(silent, latents(2))[0].sum().backward()
    assert silent.grad is not None
    assert torch.isfinite(silent.grad).all()


def test_penalties_reach_its_weights() -> None:
    torch.manual_seed(0)
    game = Game(AdversarialConfig(loss="hinge", penalty=1e-3, penalty_every=1, mismatched=0.0), VoiceDiscriminator(SMALL))
    real = chirps(4)
    randomness = torch.Generator().manual_seed(0)
    game.challenge(Played(without_phases(real), LossTerms({})), latents(4), real, rows=torch.arange(4), randomness=randomness)
    terms = game.turn(randomness)
    assert {"r1", "r2"} <= set(terms.terms)
    terms.total.backward()
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in game.discriminator.parameters())
