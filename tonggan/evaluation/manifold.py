"""Do the made samples look real, and do they cover what is real? Precision, recall, density and coverage by nearest neighbours."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tonggan.evaluation.intervals import Interval, Numbers, mean_interval, share_interval

NEAREST = 5
"""Neighbours that make a sample's ball, as in the paper of density and coverage."""

CHUNK = 512


@dataclass(frozen=True)
class Manifold:
    """Four figures with 95 % intervals over the samples that each is a mean of, the other set held as it is."""

    precision: Interval
    """Share of made samples within the ball of any real one (Kynkäänniemi et al. 2019, arXiv 1904.06991, eq. 2)."""
    recall: Interval
    """Share of real samples within the ball of any made one."""
    density: Interval
    """Mean number of real balls around a made sample, over k (Naeem et al. 2020, arXiv 2002.09797, eq. 4); 1 where the sets are alike."""
    coverage: Interval
    """Share of real samples whose ball holds a made one (eq. 5)."""
    nearest: int
    samples: int


def manifold(features: npt.ArrayLike, reference: npt.ArrayLike, *, nearest: int = NEAREST) -> Manifold | None:
    """Return the four figures of made features (N, width) against real ones (M, width); `prdc` computes the same.

    A ball reaches to the `nearest`-th neighbour in its own set. Of both sets the first min(N, M) are looked at, since the figures hang on how many there
    are. None where that leaves no more than `nearest` of each.
    """
    count = min(len(np.asarray(features)), len(np.asarray(reference)))
    if count <= nearest:
        return None
    made, real = (np.asarray(each, dtype=np.float64)[:count] for each in (features, reference))
    made_radius, real_radius = _radii(made, nearest), _radii(real, nearest)
    balls, reached = np.zeros(count), np.zeros(count, dtype=bool)
    covered = np.zeros(count, dtype=bool)
    for start in range(0, count, CHUNK):
        distances = _distances(real[start : start + CHUNK], made)
        radius = real_radius[start : start + CHUNK, None]
        balls += (distances < radius).sum(axis=0)
        reached[start : start + CHUNK] = (distances < made_radius).any(axis=1)
        covered[start : start + CHUNK] = (distances < radius).any(axis=1)
    return Manifold(share_interval(balls > 0), share_interval(reached), mean_interval(balls / nearest), share_interval(covered), nearest, count)


def _distances(left: Numbers, right: Numbers) -> Numbers:
    squares = np.square(left).sum(axis=1)[:, None] + np.square(right).sum(axis=1) - 2 * left @ right.T
    return np.sqrt(np.maximum(squares, 0))


def _radii(points: Numbers, nearest: int) -> Numbers:
    found = []
    for start in range(0, len(points), CHUNK):
        distances = _distances(points[start : start + CHUNK], points)
        rows = np.arange(len(distances))
        distances[rows, start + rows] = 0
        # The first of them is the point itself.
        found.append(np.partition(distances, nearest, axis=1)[:, nearest])
    return np.concatenate(found)
