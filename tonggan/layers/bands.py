"""Spectrograms as networks take them: every band brought to mean 0 and deviation 1."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tonggan.modalities.spectrogram import Mel, band_statistics, log_mel


class WithBands(nn.Module):
    """What encoders and decoders of sounds have in common: mean and deviation of every band, kept with the weights."""

    mel: Mel
    mean: Tensor
    deviation: Tensor

    def know_bands(self, mel: Mel) -> None:
        """Take the bands of `mel` as they are, until `fit` or trained weights say more of them."""
        self.mel = mel
        self.register_buffer("mean", torch.zeros(mel.bands, 1))
        self.register_buffer("deviation", torch.ones(mel.bands, 1))

    def fit(self, examples: Iterable[Tensor]) -> None:
        """Take mean and deviation of every band from the first examples (waveforms)."""
        mean, deviation = band_statistics(examples, self.mel)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def levels(self, sound: Tensor) -> Tensor:
        """Return normalised log-mel frames (batch, bands, frames) of waveforms (batch, samples)."""
        return (log_mel(sound, self.mel) - self.mean) / self.deviation
