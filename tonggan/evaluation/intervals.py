"""Figures with an interval: what a mean over samples might have been with other samples."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
CONFIDENCE = 0.95
Z_SCORE = 1.959964
"""Standard deviations of a normal distribution that hold `CONFIDENCE` of it."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure and the 95 % interval around it."""

    value: float
    low: float
    high: float


def resample_weights(count: int, *, resamples: int, seed: int) -> Numbers:
    """Return how often each of `count` samples is drawn in each resample with replacement: (count, resamples); every column sums to `count`."""
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn.T.astype(np.float64)


def percentiles(value: float, resampled: Numbers) -> Interval:
    """Return the percentile interval (Efron 1979) of `resampled` around `value`."""
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(value), float(low), float(high))


def share_interval(values: npt.ArrayLike) -> Interval:
    """Return the mean of `values` (N,) in [0, 1], such as hits and misses, with its Wilson score interval (Wilson 1927).

    (p + z²/2n ± z √(p (1 - p) / n + z²/4n²)) / (1 + z²/n). A bootstrap would be wrong: no resample of misses alone has a hit, so that 0 of 24 would be
    0 for certain. Raises `ValueError` without any value.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0:
        raise ValueError("a share needs at least one value.")
    share, square = float(numbers.mean()), Z_SCORE**2 / numbers.size
    middle = (share + square / 2) / (1 + square)
    half = float(np.sqrt(share * (1 - share) * square + square**2 / 4)) / (1 + square)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def mean_interval(values: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return the mean of `values` (N,) with its bootstrap interval over the samples. Raises `ValueError` without any value."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0:
        raise ValueError("a mean needs at least one value.")
    weights = resample_weights(numbers.size, resamples=resamples, seed=seed)
    return percentiles(numbers.mean(), numbers @ weights / numbers.size)


def ratio_interval(above: npt.ArrayLike, below: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return mean(above) / mean(below) with its bootstrap interval; sample i of both (N,) is drawn together.

    Raises `ValueError` where the mean of `below` is not above zero.
    """
    over, under = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    if not under.mean() > 0:
        raise ValueError("a ratio needs a mean above zero below the line.")
    weights = resample_weights(over.size, resamples=resamples, seed=seed)
    scale = under @ weights
    return percentiles(over.mean() / under.mean(), (over @ weights)[scale > 0] / scale[scale > 0])
