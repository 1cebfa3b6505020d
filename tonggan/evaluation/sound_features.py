"""Sounds -> statistics of their log-mel spectrograms, and distances between sets of them: no network, no weights, the same everywhere."""

import numpy as np
import torch

from tonggan.evaluation.card import Figure, NetFacts
from tonggan.evaluation.distances import frechet_distance, kernel_distance
from tonggan.evaluation.features import Features
from tonggan.modalities.spectrogram import FLOOR, Mel, log_mel

NAME = "log-mel statistics"
SCALE = 4.0
"""Nepers above silence that count as one."""


def log_mel_statistics(waveforms: torch.Tensor, *, sample_rate_hz: int) -> Features:
    """Return float32 (N, 4 x bands) of waveforms (N, samples) in [-1, 1]: of each mel band above silence, what it is over time.

    Mean, deviation, maximum, and mean absolute change from frame to frame, in units of four nepers. They tell timbre, loudness and liveliness, not what made
    a sound: distances between them are not the FAD of any paper.
    """
    levels = (log_mel(waveforms, Mel(sample_rate_hz=sample_rate_hz)) - float(np.log(FLOOR))) / SCALE
    parts = (levels.mean(-1), levels.std(-1, correction=0), levels.amax(-1), levels.diff(dim=-1).abs().mean(-1))
    return torch.cat(parts, dim=1).float().numpy()


def statistics_facts(sample_rate_hz: int) -> NetFacts:
    """Return what a card says of these features."""
    note = "mean, deviation, maximum and mean change of every log-mel band"
    return NetFacts(NAME, "", sample_rate_hz, 4 * Mel().bands, note, unit="Hz")


def sound_distances(made: torch.Tensor, real: torch.Tensor, *, sample_rate_hz: int) -> list[Figure]:
    """Return Fréchet and kernel distance of waveforms (N, samples) from real ones; nothing for fewer than two."""
    if min(len(made), len(real)) < 2:
        return []
    features, truths = (log_mel_statistics(each, sample_rate_hz=sample_rate_hz) for each in (made, real))
    frechet, kernel = frechet_distance(features, truths), kernel_distance(features, truths)
    return [
        Figure.of(name, each, len(features), net=NAME)
        for name, each in (("frechet_distance", frechet.interval), ("kernel_distance", kernel.interval))
    ]
