"""Mel spectrograms: what a sound looks like, for models, for measures and for the eye."""

from collections.abc import Iterable
from functools import cache
from itertools import islice

import torch
from torch import Tensor

from tonggan.strict import Count, Strict

FLOOR = 1e-4
"""Magnitudes below are silence: about 80 dB under a full sine."""
FITTED_CLIPS = 256
"""Clips from which mean and deviation of the bands are taken."""


class Mel(Strict):
    """How a sound becomes a mel spectrogram. The defaults resolve 8 ms: what is struck should be heard to the frame."""

    sample_rate_hz: Count = 16_000
    window_length: Count = 512
    hop_length: Count = 128
    bands: Count = 64

    @property
    def frames_per_second(self) -> float:
        """Frames of the spectrogram in a second."""
        return self.sample_rate_hz / self.hop_length


def _to_mel(hertz: Tensor) -> Tensor:
    """Return the mel scale of Slaney's Auditory Toolbox: linear below 1 kHz, logarithmic above."""
    linear = hertz * 3 / 200
    return torch.where(hertz < 1000, linear, 15 + 27 / torch.tensor(6.4).log() * (hertz.clamp_min(1e-3) / 1000).log())


def _to_hertz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * torch.tensor(6.4).log() / 27))


@cache
def filters(mel: Mel) -> Tensor:
    """Return (bands, window_length / 2 + 1) triangles of unit area, as librosa's `filters.mel` has them."""
    nyquist = mel.sample_rate_hz / 2
    bins = torch.linspace(0, nyquist, mel.window_length // 2 + 1, dtype=torch.float64)
    edges = _to_hertz(torch.linspace(0, float(_to_mel(torch.tensor(nyquist))), mel.bands + 2, dtype=torch.float64))
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return (torch.minimum(rising, falling).clamp_min(0) * (2 / (edges[2:] - edges[:-2]))[:, None]).float()


@cache
def window(length: int) -> Tensor:
    """Return the Hann window."""
    return torch.hann_window(length)


def spectrum(waveform: Tensor, *, window_length: int, hop_length: int) -> Tensor:
    """Return complex (..., window_length / 2 + 1, frames) of waveforms (..., samples), frame i centred at sample i * hop_length.

    There are samples / hop_length frames, rounded up; beyond the ends is silence.
    """
    frames = -(-waveform.shape[-1] // hop_length)
    hann = window(window_length).to(waveform.device)
    return torch.stft(waveform, window_length, hop_length, window=hann, pad_mode="constant", return_complex=True)[..., :frames]


def magnitude(values: Tensor) -> Tensor:
    """Return the absolute of complex values, with a gradient that is finite in silence."""
    return (values.real**2 + values.imag**2).clamp_min(1e-12).sqrt()


def log_mel(waveform: Tensor, mel: Mel) -> Tensor:
    """Return natural logarithms (..., bands, frames) of mel magnitudes of waveforms (..., samples)."""
    with torch.autocast(waveform.device.type, enabled=False):  # eight bits are too few for what is 80 dB down
        return mel_levels(spectrum(waveform.float(), window_length=mel.window_length, hop_length=mel.hop_length), mel)


def mel_levels(found: Tensor, mel: Mel) -> Tensor:
    """Return natural logarithms (..., bands, frames) of the mel magnitudes of complex spectra (..., bins, frames)."""
    return (filters(mel).to(found.device) @ magnitude(found)).clamp_min(FLOOR).log()


def frames_to_tokens(levels: Tensor, frames_a_token: int) -> Tensor:
    """Return (batch, tokens, frames_a_token * bands) of frames (batch, bands, frames), as many as make whole tokens."""
    return levels.unflatten(2, (-1, frames_a_token)).permute(0, 2, 3, 1).flatten(2)


def token_seconds(mel: Mel, tokens: int, *, frames_a_token: int, device: torch.device) -> Tensor:
    """Return the second of the middle of each token (tokens,)."""
    places = torch.arange(tokens, device=device) * frames_a_token + (frames_a_token - 1) / 2
    return places / mel.frames_per_second


def band_statistics(waveforms: Iterable[Tensor], mel: Mel) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (bands, 1) of every band's log-mel over the first waveforms (samples,)."""
    levels = torch.cat([log_mel(waveform, mel) for waveform in islice(waveforms, FITTED_CLIPS)], dim=1)
    return levels.mean(1, keepdim=True), levels.std(1, keepdim=True).clamp_min(0.1)
