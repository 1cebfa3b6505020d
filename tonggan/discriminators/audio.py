"""The discriminator of voices: it sees the complex spectrum of a sound at several resolutions, and nothing else.

waveform (samples) -> spectra (2, bins, frames) at each resolution, made even in loudness -> strided convolutions over bins and frames -> verdicts of patches,
whose mean is the verdict. Multi-resolution discrimination is UnivNet's (Jang et al. 2021, arXiv:2106.07889); complex spectra, in which phases that do not fit
are seen, are EnCodec's (Défossez et al. 2022, arXiv:2210.13438, section 3.4).
"""

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.latent.record import Latent
from tonggan.modalities.spectrogram import spectrum
from tonggan.strict import Count, Strict

QUIET = 1e-3
"""Magnitude from which on spectra are made even: half of the logarithm of what is louder is taken off."""
SLOPE = 0.1


class VoiceConfig(Strict):
    """Settings of `VoiceDiscriminator`."""

    channels: Count = 24
    """Channels of the first layer; twice as many in those behind it."""
    resolutions: tuple[tuple[PositiveInt, PositiveInt], ...] = Field(default=((1024, 256), (512, 128), (256, 64)), min_length=1)
    """Window and hop lengths in samples."""


class SpectrumDiscriminator(nn.Module):
    """Sounds (batch, samples) -> verdicts (batch,), by their spectrum at one resolution."""

    def __init__(self, channels: int, window_length: int, hop_length: int) -> None:
        super().__init__()
        self.window_length, self.hop_length = window_length, hop_length
        sizes = [((7, 5), (2, 1)), ((7, 3), (4, 1)), ((5, 3), (4, 2)), ((3, 3), (1, 1))]
        widths = [2, channels, 2 * channels, 2 * channels, 2 * channels]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride, padding=(kernel[0] // 2, kernel[1] // 2))
            for before, after, (kernel, stride) in zip(widths[:-1], widths[1:], sizes, strict=True)
        )
        self.verdict = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, sounds: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the verdicts, and what every layer gave, (batch, channels, bins, frames)."""
        with torch.autocast(sounds.device.type, enabled=False):
            found = torch.view_as_real(spectrum(sounds.float(), window_length=self.window_length, hop_length=self.hop_length))
            x = found.permute(0, 3, 1, 2) / (found.square().sum(-1) + QUIET**2).pow(0.25).unsqueeze(1)
        layers = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            layers.append(x)
        return self.verdict(x).flatten(1).mean(1), layers


class VoiceDiscriminator(nn.Module):
    """Sounds (batch, samples) in [-1, 1] -> verdicts (batch,), higher for what seems real; the latent is not asked.

    A vocoder is told all but the phases: what it should make is not in question, only whether it sounds like a sound.
    """

    slopes_at_features = False

    def __init__(self, config: VoiceConfig) -> None:
        super().__init__()
        self.judges = nn.ModuleList(SpectrumDiscriminator(config.channels, *resolution) for resolution in config.resolutions)

    def look(self, sounds: Tensor, latent: Latent) -> Tensor:
        """Return the sounds: there is nothing to be seen of them that is worth keeping."""
        return sounds

    def judge(self, features: Tensor, latent: Latent) -> Tensor:
        """Return the mean of the verdicts at all resolutions."""
        return self(features, latent)[0]

    def forward(self, sounds: Tensor, latent: Latent) -> tuple[Tensor, list[Tensor]]:
        """Return the mean of the verdicts at all resolutions, (batch,), and what every layer gave at each."""
        verdicts, layers = zip(*(judge(sounds) for judge in self.judges), strict=True)
        return torch.stack(verdicts).mean(0), [each for found in layers for each in found]
