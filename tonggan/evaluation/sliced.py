"""Sliced Wasserstein distance of two sets of features: what MIND is on Inception-v3."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tonggan.evaluation.intervals import Z_SCORE, Interval, Numbers

DIRECTIONS = 1000
SEED = 2020
"""Seed of the directions; `torch-fidelity` takes the same."""
SCALE = 3
"""What the squared distance is multiplied with, times the width: MIND's alpha."""
SLICED_SAMPLES = 1000
"""Samples from which on the authors call MIND informative (arXiv 2605.06797, abstract)."""


@dataclass(frozen=True)
class SlicedDistance:
    """A sliced distance with its standard error and 95 % interval (value ± 1.96 errors, not below zero)."""

    interval: Interval
    standard_error: float
    directions: int
    samples: int


def sliced_distance(features: npt.ArrayLike, reference: npt.ArrayLike, *, directions: int = DIRECTIONS, seed: int = SEED) -> SlicedDistance:
    """Return 3 width · mean over directions u of W₂²(u·X, u·Y) for features (N, width) and (M, width) (Berthet et al. 2026, arXiv 2605.06797).

    In one dimension W₂² is the mean square of the differences of the sorted projections; of both sets the first min(N, M) samples are taken. Directions
    are normal deviates at unit length, the same for all sets of a width, and those of `torch-fidelity`. The standard error comes from the derivative of
    the distance by each sample's weight, its Kantorovich potential, as in the limit theorem of del Barrio & Loubes 2019 (arXiv 1705.01299); resampling
    would raise every distance by the samples that it repeats. Few samples make the distance too large, less so than a Fréchet distance.
    Raises `ValueError` for fewer than two samples and for features that are not finite.
    """
    made, real = (np.asarray(each, dtype=np.float64) for each in (features, reference))
    count = min(len(made), len(real))
    if count < 2 or not (np.isfinite(made).all() and np.isfinite(real).all()):
        raise ValueError(f"a distance needs finite features of two samples or more; here are {len(made)} and {len(real)}.")
    width = made.shape[1]
    units = torch.randn(directions, width, generator=torch.Generator().manual_seed(seed))
    units = units / units.norm(dim=1, keepdim=True).clamp_min(1e-12)
    axes = units.numpy().astype(np.float64).T
    left, right = made[:count] @ axes, real[:count] @ axes
    left_order, right_order = left.argsort(axis=0), right.argsort(axis=0)
    left, right = np.take_along_axis(left, left_order, axis=0), np.take_along_axis(right, right_order, axis=0)
    scale = SCALE * width
    value = scale * float(np.square(left - right).mean())
    variance = sum(_potential(*sides, order).var() / count for sides, order in (((left, right), left_order), ((right, left), right_order)))
    error = scale * float(np.sqrt(variance))
    return SlicedDistance(Interval(value, max(0.0, value - Z_SCORE * error), value + Z_SCORE * error), error, directions, count)


def _potential(own: Numbers, other: Numbers, order: npt.NDArray[np.int64]) -> Numbers:
    """Return (samples,) the mean over directions of the potential of each sample; its slope is 2 (x - T(x)), T the transport to the other set."""
    slope = 2 * (own - other)
    steps = np.diff(own, axis=0) * (slope[1:] + slope[:-1]) / 2
    sorted_potential = np.vstack([np.zeros((1, own.shape[1])), steps.cumsum(axis=0)])
    sorted_potential -= sorted_potential.mean(axis=0)
    back = np.empty_like(sorted_potential)
    np.put_along_axis(back, order, sorted_potential, axis=0)
    return back.mean(axis=1)
