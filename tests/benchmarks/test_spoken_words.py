import numpy as np
import torch
from spoken_words import parts

from tonggan.evaluation.materials import SpectraClassifier
from tonggan.modalities.spectrogram import Mel

MEL = Mel()


def word(rising: bool, *, silence: float, loudness: float, noise: int) -> torch.Tensor:
    """A glide of half a second, up or down, behind so many seconds of silence."""
    seconds = np.arange(MEL.sample_rate_hz // 2) / MEL.sample_rate_hz
    hertz = 300 + 2400 * (seconds if rising else 0.5 - seconds)
    glide = np.sin(2 * np.pi * np.cumsum(hertz) / MEL.sample_rate_hz)
    whole = np.concatenate([np.zeros(round(silence * MEL.sample_rate_hz)), loudness * glide, np.zeros(MEL.sample_rate_hz // 4)])
    return torch.from_numpy(whole + 1e-4 * np.random.default_rng(noise).normal(size=len(whole))).float()


def test_words_are_named_by_their_course_wherever_and_however_loud() -> None:
    known = [(rising, word(rising, silence=0.1, loudness=0.3, noise=number)) for number in range(8) for rising in (True, False)]
    classifier = SpectraClassifier.fit(np.stack([parts(each, MEL) for _, each in known]), [str(rising) for rising, _ in known])
    asked = [(rising, word(rising, silence=silence, loudness=0.1, noise=99)) for rising in (True, False) for silence in (0.0, 0.4)]
    assert classifier.names_of(np.stack([parts(each, MEL) for _, each in asked])) == [str(rising) for rising, _ in asked]


def test_silence_has_parts_too() -> None:
    assert np.isfinite(parts(torch.zeros(8000), MEL)).all()
