"""Vocoders: log-mel spectrogram -> waveform. Griffin-Lim, which learns nothing, and a network that predicts a spectrum and inverts it.

The network is Vocos (Siuzdak 2023, arXiv:2306.00814): ConvNeXt blocks at the rate of the frames, magnitude and phase of every frame, inverse STFT.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.layers.transformer import RMSNorm
from tonggan.modalities.spectrogram import Mel, filters, log_mel, magnitude, mel_levels, spectrum, window
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Played
from tonggan.strict import Count, Positive, Strict

RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))
"""Window and hop lengths at which spectra are compared."""
LOUDEST = 5.0
"""Logarithm of the greatest magnitude of a bin that the network may say."""
MOMENTUM = 0.99
CORRECTION, LARGEST_CORRECTION = 1.2, 3.0
"""What a bin is made louder by, in what its bands lack: over one, for only a part of it survives the inverse; and the most that is made up for at once (nepers)."""
CORRECTION_MOMENTUM = 0.7
"""Share of the last correction that the next one begins ahead by, as in the fast form of Griffin-Lim; with 1.5 above it no longer settles (docs/log.md)."""
WEIGHT = 0.1
"""Of the vocoder's distances beside the loss of a flow: their gradients are many times larger, and all are clipped as one."""


class VocoderConfig(Strict):
    """Settings of `Vocoder`."""

    width: Count = 256
    layers: Count = 6
    segment_seconds: Positive = 0.512
    """Length of what is learned from a clip at once."""
    candidates: Count = 4
    """Of so many segments of a clip the loudest is taken: silence teaches nothing."""


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a wide layer at each frame (Liu et al. 2022, arXiv:2201.03545)."""

    def __init__(self, width: int, *, layers: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = RMSNorm(width)
        self.widen, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1 / layers))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, width) -> the same shape."""
        mixed = self.norm(self.mix(x.transpose(1, 2)).transpose(1, 2))
        return x + self.scale * self.narrow(F.gelu(self.widen(mixed), approximate="tanh"))


class Vocoder(nn.Module):
    """Log-mel (batch, bands, frames) -> waveform (batch, frames * hop_length)."""

    def __init__(self, config: VocoderConfig, mel: Mel) -> None:
        super().__init__()
        self.config, self.mel = config, mel
        bins = mel.window_length // 2 + 1
        self.begin = nn.Conv1d(mel.bands, config.width, 7, padding=3)
        self.blocks = nn.ModuleList(ConvNeXtBlock(config.width, layers=config.layers) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.end = nn.Linear(config.width, 3 * bins)

    def forward(self, levels: Tensor) -> Tensor:
        """Return the waveform of a spectrogram."""
        frames = levels.shape[-1]
        levels = F.pad(levels, (0, 1), mode="replicate")  # the inverse needs the frame behind the last sample, too
        x = self.begin(levels / 4 + 1).transpose(1, 2)  # about -1 to 1
        for block in self.blocks:
            x = block(x)
        loud, real, imaginary = self.end(self.norm(x)).float().transpose(1, 2).chunk(3, dim=1)
        length = torch.sqrt(real**2 + imaginary**2 + 1e-8)
        found = loud.clamp(max=LOUDEST).exp() * torch.complex(real / length, imaginary / length)
        return inverse(found, self.mel, frames=frames)

    def play(self, waveform: Tensor, *, randomness: torch.Generator) -> Played:
        """Make a segment of each waveform from its spectrogram, and compare: log-mel distance, and spectra at several resolutions."""
        truth = self._segments(waveform, randomness)
        levels = log_mel(truth, self.mel)
        made = self(levels)
        terms = {"mel": (log_mel(made, self.mel) - levels).abs().mean(), "spectra": spectral_distance(made, truth)}
        return Played(made, LossTerms(terms, dict.fromkeys(terms, WEIGHT)), truth)

    def _segments(self, waveform: Tensor, randomness: torch.Generator) -> Tensor:
        hop = self.mel.hop_length
        length = min(round(self.config.segment_seconds * self.mel.sample_rate_hz / hop) * hop, waveform.shape[-1])
        starts = torch.randint(waveform.shape[-1] - length + 1, (len(waveform), self.config.candidates), generator=randomness)
        offered = torch.stack([waveform[row, int(start) : int(start) + length] for row in range(len(waveform)) for start in starts[row]])
        offered = offered.unflatten(0, starts.shape)
        return offered[torch.arange(len(offered)), (offered**2).mean(-1).argmax(1)]


def inverse(found: Tensor, mel: Mel, *, frames: int) -> Tensor:
    """Return the waveform (batch, frames * hop_length) of a complex spectrum (batch, bins, frames + 1)."""
    hann = window(mel.window_length).to(found.device)
    return torch.istft(found, mel.window_length, mel.hop_length, window=hann, length=frames * mel.hop_length)


def spectral_distance(made: Tensor, truth: Tensor, resolutions: Sequence[tuple[int, int]] = RESOLUTIONS) -> Tensor:
    """Return the multi-resolution STFT loss: spectral convergence and log-magnitude distance (Yamamoto et al. 2020, arXiv:1910.11480, section 3.2)."""
    distances = []
    for window_length, hop_length in resolutions:
        one, other = (magnitude(spectrum(each, window_length=window_length, hop_length=hop_length)) for each in (made, truth))
        convergence = torch.linalg.vector_norm(other - one, dim=(1, 2)) / torch.linalg.vector_norm(other, dim=(1, 2)).clamp_min(1e-2)
        distances.append(convergence.clamp(max=10).mean() + (one.clamp_min(1e-3).log() - other.clamp_min(1e-3).log()).abs().mean())
    return torch.stack(distances).mean()


@cache
def _bins_of_bands(mel: Mel) -> Tensor:
    """Return the pseudo-inverse of the filters (bins, bands): it takes longer than the iterations."""
    return torch.linalg.pinv(filters(mel).double()).float()


@torch.no_grad()
def griffin_lim(levels: Tensor, mel: Mel, *, iterations: int = 32) -> Tensor:
    """Return a waveform (batch, samples) whose magnitudes are those of a log-mel spectrogram (batch, bands, frames), its phases found by turns.

    The fast form (Perraudin et al. 2013). Magnitudes of bins come from the bands by the pseudo-inverse; the phases start from one fixed noise.
    """
    frames = levels.shape[-1]
    bands = F.pad(levels, (0, 1), mode="replicate").exp()
    loud = (_bins_of_bands(mel).to(levels.device) @ bands).clamp_min(0)
    turns = torch.rand(loud.shape[1:], generator=torch.Generator().manual_seed(0)).to(loud.device)
    phases = torch.polar(torch.ones_like(loud), (2 * torch.pi * turns).expand_as(loud))  # the same for every row: its place in the batch is nothing
    before = torch.zeros_like(phases)
    for _ in range(iterations):
        waveform = inverse(loud * phases, mel, frames=frames)
        found = spectrum(F.pad(waveform, (0, mel.hop_length)), window_length=mel.window_length, hop_length=mel.hop_length)
        ahead = found - before * (MOMENTUM / (1 + MOMENTUM))
        phases, before = ahead / magnitude(ahead), found
    return inverse(loud * phases, mel, frames=frames)


@cache
def _bands_of_bins(mel: Mel) -> Tensor:
    """Return the shares (bins, bands) of every bin in the bands that hold it; they add up to 1, or to 0 where no band does."""
    shares = filters(mel).T
    return shares / shares.sum(1, keepdim=True).clamp_min(1e-12)


@torch.no_grad()
def corrected(waveform: Tensor, levels: Tensor, mel: Mel, *, iterations: int) -> Tensor:
    """Return waveforms (batch, samples) whose log-mel spectrogram is nearer to `levels` (batch, bands, frames) than that of the given ones is.

    By turns: every bin is made louder or softer by what the bands that hold it lack, its phase stays, and the spectrum is inverted. It is what Griffin-Lim
    does to magnitudes, asked of the bands alone, so that what lies between them stays as a vocoder had it; momentum, too, is that of its fast form.
    """
    frames, shares = levels.shape[-1], _bands_of_bins(mel).to(levels.device)
    wanted = F.pad(levels, (0, 1), mode="replicate")
    before = ahead = waveform
    for _ in range(iterations):
        found = spectrum(F.pad(ahead, (0, mel.hop_length)), window_length=mel.window_length, hop_length=mel.hop_length)
        lacking = (wanted - mel_levels(found, mel)).clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION)
        waveform = inverse(found * (CORRECTION * shares @ lacking).exp(), mel, frames=frames)
        before, ahead = waveform, waveform + CORRECTION_MOMENTUM * (waveform - before)
    return waveform
