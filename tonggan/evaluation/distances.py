"""How far one set of features is from another: Fréchet distance and kernel distance.

Both are sound with few samples: nothing becomes NaN, imaginary or, for the Fréchet distance, negative. Sound does not mean unbiased: the
Fréchet distance of few samples is too high, so it compares only at equal sample counts. The kernel distance is unbiased.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tonggan.evaluation.intervals import Z_SCORE, Interval, Numbers, percentiles, resample_weights

FRECHET_SAMPLES = 2048
"""Below this many samples a Fréchet distance is known to be misleading on its own (Chong & Forsyth 2020, arXiv 1911.07023)."""

CHUNK = 512

CMMD_BANDWIDTH = 10.0
"""Standard deviation of CMMD's kernel, for embeddings of unit length."""


@dataclass(frozen=True)
class FrechetDistance:
    """A Fréchet distance, its standard error, and the 95 % interval (value ± 1.96 errors, not below zero)."""

    interval: Interval
    standard_error: float
    samples: tuple[int, int]


@dataclass(frozen=True)
class KernelDistance:
    """An unbiased kernel distance with bootstrap interval, and its mean and standard deviation over random subsets, as papers report KID."""

    interval: Interval
    subset_mean: float
    subset_deviation: float
    subset_size: int
    subsets: int
    samples: tuple[int, int]


@dataclass(frozen=True)
class _Spread:
    """Samples about their mean as a factor: covariance = inner.T @ inner, and the scaled samples are outer @ inner (outer None: identity)."""

    mean: Numbers
    centred: Numbers
    inner: Numbers
    outer: Numbers | None

    @property
    def variance(self) -> float:
        return float(np.square(self.inner).sum())


def _checked(features: npt.ArrayLike) -> Numbers:
    numbers = np.asarray(features, dtype=np.float64)
    if numbers.ndim != 2 or len(numbers) < 2:
        raise ValueError(f"a distance needs features (samples, width) of two samples or more, not {numbers.shape}.")
    if not np.isfinite(numbers).all():
        raise ValueError("a distance needs finite features; some are NaN or infinite.")
    return numbers


def _spread(features: Numbers) -> _Spread:
    mean = features.mean(axis=0)
    centred = features - mean
    scaled = centred / np.sqrt(len(features) - 1)
    if len(features) <= features.shape[1]:
        return _Spread(mean, centred, scaled, None)
    outer, inner = np.linalg.qr(scaled)
    return _Spread(mean, centred, inner, outer)


def frechet_distance(features: npt.ArrayLike, reference: npt.ArrayLike) -> FrechetDistance:
    """Return the squared Fréchet distance of Gaussians fitted to two sets of features, (N, width) and (M, width).

    d² = |m1 - m2|² + tr S1 + tr S2 - 2 tr (S1^½ S2 S1^½)^½ (Dowson & Landau 1982; Heusel et al. 2017, arXiv 1706.08500, eq. 6). With S1 = A'A
    and S2 = B'B the last trace is the sum of the singular values of AB': no covariance is formed, no matrix root taken, and rank deficiency
    (N < width) does no harm.

    The standard error is the infinitesimal jackknife (Efron 1982): the derivative of d² by the weight of each sample. A percentile bootstrap
    would be wrong: resampling repeats samples, which lowers the rank and raises every resampled distance above the value itself.
    Raises `ValueError` for fewer than two samples and for features that are not finite.
    """
    first, second = _checked(features), _checked(reference)
    a, b = _spread(first), _spread(second)
    left, singular, right = np.linalg.svd(a.inner @ b.inner.T, full_matrices=False)
    shift = a.mean - b.mean
    value = max(0.0, float(shift @ shift) + a.variance + b.variance - 2 * float(singular.sum()))
    error = float(np.sqrt(_jackknife(a, shift, left, singular) + _jackknife(b, -shift, right.T, singular)))
    return FrechetDistance(Interval(value, max(0.0, value - Z_SCORE * error), value + Z_SCORE * error), error, (len(first), len(second)))


def _jackknife(spread: _Spread, shift: Numbers, vectors: Numbers, singular: Numbers) -> float:
    """Return the variance that the samples of one side lend to the distance."""
    rows = vectors if spread.outer is None else spread.outer @ vectors
    count = len(spread.centred)
    slopes = 2 * spread.centred @ shift + np.square(spread.centred).sum(axis=1) - (count - 1) * (np.square(rows) @ singular)
    return float(slopes.var() / count)


def polynomial_kernel(left: Numbers, right: Numbers) -> Numbers:
    """Return k(x, y) = (x·y / width + 1)³ for all pairs: (N, width), (M, width) -> (N, M) (Bińkowski et al. 2018, arXiv 1801.01401, section 4)."""
    return (left @ right.T / left.shape[1] + 1) ** 3


def gaussian_kernel(left: Numbers, right: Numbers) -> Numbers:
    """Return k(x, y) = exp(-|x - y|² / 200) for all pairs: the kernel of CMMD (Jayasumana et al. 2024, arXiv 2401.09603, section 4)."""
    squares = np.square(left).sum(axis=1)[:, None] + np.square(right).sum(axis=1) - 2 * left @ right.T
    return np.exp(-np.maximum(squares, 0) / (2 * CMMD_BANDWIDTH**2))


Kernel = Callable[[Numbers, Numbers], Numbers]


def kernel_distance(
    features: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    kernel: Kernel = polynomial_kernel,
    subset_size: int = 500,
    subsets: int = 100,
    resamples: int = 200,
    seed: int = 0,
) -> KernelDistance:
    """Return the squared maximum mean discrepancy of two sets of features, (N, width) and (M, width), under `kernel`: KID's polynomial, or CMMD's Gaussian.

    MMD² = mean_{i≠j} k(x_i, x_j) + mean_{i≠j} k(y_i, y_j) - 2 mean k(x_i, y_j) (Gretton et al. 2012, eq. 3; Bińkowski et al. 2018): unbiased, so
    it may be slightly negative when the sets are alike. The value uses all samples; beside it are mean and standard deviation over `subsets`
    random subsets of min(N, M, `subset_size`) without replacement. The bootstrap leaves out pairs of a sample with itself, which would bias it
    upwards, and so the resamples of a handful that drew one sample alone.
    Raises `ValueError` for fewer than two samples and for features that are not finite.
    """
    first, second = _checked(features), _checked(reference)
    size = min(len(first), len(second), subset_size)
    random = np.random.default_rng(seed)
    weights = [
        np.hstack(
            [
                np.ones((count, 1)),
                _subset_weights(count, size=size, subsets=subsets, random=random),
                resample_weights(count, resamples=resamples, seed=draw),
            ]
        )
        for count, draw in ((len(first), seed), (len(second), seed + 1))
    ]
    found = _within(first, weights[0], kernel) + _within(second, weights[1], kernel) - 2 * _between(first, second, weights[0], weights[1], kernel)
    by_subset, resampled = found[1 : 1 + subsets], found[1 + subsets :]
    return KernelDistance(
        percentiles(float(found[0]), resampled[np.isfinite(resampled)]),
        float(by_subset.mean()),
        float(by_subset.std()),
        size,
        subsets,
        (len(first), len(second)),
    )


def _subset_weights(count: int, *, size: int, subsets: int, random: np.random.Generator) -> Numbers:
    weights = np.zeros((count, subsets))
    for subset in range(subsets):
        weights[random.choice(count, size, replace=False), subset] = 1
    return weights


def _within(features: Numbers, weights: Numbers, kernel: Kernel) -> Numbers:
    """Return the weighted mean of k(x_i, x_j) over i ≠ j, for each column of `weights` (N, columns); NaN where it weighs one sample alone."""
    total = np.zeros(weights.shape[1])
    for start in range(0, len(features), CHUNK):
        values = kernel(features[start : start + CHUNK], features)
        rows = np.arange(len(values))
        values[rows, start + rows] = 0
        total += (weights[start : start + CHUNK] * (values @ weights)).sum(axis=0)
    pairs = weights.sum(axis=0) ** 2 - np.square(weights).sum(axis=0)
    return np.divide(total, pairs, out=np.full_like(total, np.nan), where=pairs > 0)


def _between(left: Numbers, right: Numbers, left_weights: Numbers, right_weights: Numbers, kernel: Kernel) -> Numbers:
    """Return the weighted mean of k(x_i, y_j) over all pairs, for each column of the weights."""
    total = np.zeros(left_weights.shape[1])
    for start in range(0, len(left), CHUNK):
        values = kernel(left[start : start + CHUNK], right)
        total += (left_weights[start : start + CHUNK] * (values @ right_weights)).sum(axis=0)
    return total / (left_weights.sum(axis=0) * right_weights.sum(axis=0))
