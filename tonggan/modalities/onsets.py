"""Onsets: the seconds at which something begins to be heard."""

import numpy as np
import torch

from tonggan.modalities.spectrogram import Mel, log_mel

APART_SECONDS = 0.06
"""Two onsets that are closer are one."""
RISE = 0.6
"""Mean rise of the bands in nepers over a sixtieth of a second from which it counts."""
OVER_NEIGHBOURS = 3.0
"""How many times the mean rise of the quarter of a second around it must be exceeded."""
QUIET = 0.02
"""Share of the loudest moment's level below which nothing begins."""


def onsets(waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return the seconds of the onsets in a waveform (samples,), rising.

    Peaks of the spectral flux of a log-mel spectrogram (Böck & Widmer 2013, without their vibrato filter), then each moved to where a short envelope rises most.
    """
    if not np.abs(waveform).max(initial=0) > 1e-4:
        return np.zeros(0)
    mel = Mel(sample_rate_hz=sample_rate_hz)
    levels = log_mel(torch.from_numpy(np.asarray(waveform, dtype=np.float32)), mel).numpy()
    before = np.pad(levels, ((0, 0), (2, 0)), mode="edge")[:, :-2]
    rise = np.clip(levels - before, 0, None).mean(0)
    around = np.convolve(rise, np.ones(31) / 31, mode="same")
    reach = round(APART_SECONDS * mel.frames_per_second / 2)
    highest = np.lib.stride_tricks.sliding_window_view(np.pad(rise, reach), 2 * reach + 1).max(1)
    found = np.flatnonzero((rise >= highest) & (rise > RISE) & (rise > OVER_NEIGHBOURS * around * (31 / 25 - 0.24)))
    envelope, step = _envelope(waveform, sample_rate_hz)
    seconds = [_steepest(envelope, frame / mel.frames_per_second, step) for frame in found]
    loud = [second for second in seconds if _level(envelope, second, step) > QUIET * envelope.max()]
    kept: list[float] = []
    for second in loud:
        if not kept or second - kept[-1] >= APART_SECONDS:
            kept.append(second)
    return np.asarray(kept)


def _envelope(waveform: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, float]:
    """Return the level of every millisecond, over two of them, and its length in seconds."""
    step = max(1, sample_rate_hz // 1000)
    whole = np.asarray(waveform[: len(waveform) // step * step], dtype=np.float64).reshape(-1, step)
    power = (whole**2).mean(1)
    return np.sqrt((power + np.append(power[1:], 0)) / 2), step / sample_rate_hz


def _steepest(envelope: np.ndarray, second: float, step: float) -> float:
    """Return the second, near the given one, at which the envelope rises most."""
    first, last = max(0, round((second - 0.03) / step)), min(len(envelope) - 3, round((second + 0.03) / step))
    if last <= first:
        return second
    levels = np.log(envelope[first : last + 3] + 1e-5)
    return float((first + np.argmax(levels[2:] - levels[:-2]) + 2) * step)


def _level(envelope: np.ndarray, second: float, step: float) -> float:
    place = round(second / step)
    return float(envelope[place : place + 20].max(initial=0))
