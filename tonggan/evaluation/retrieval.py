"""Does a drawn picture fit its caption? Asked without a text encoder: is it nearest to the picture that the caption belongs to?

Also here: whether a caption changes the picture at all, and whether a picture was copied from the training set.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tonggan.evaluation.features import Features
from tonggan.evaluation.intervals import Interval, Numbers, mean_interval, ratio_interval, share_interval

CHUNK = 1024

SAME = 1e-5
"""Cosines that differ by less are a tie, and training pictures whose distance is less than the root of this times their length are duplicates."""

COPY_RATIO = 1 / 3
"""The threshold on nearest-neighbour ratios that arXiv 2505.16959 uses for memorised samples."""

DISTRACTORS = 99
"""Random others that R-precision has beside the own one (Xu et al. 2018, "AttnGAN", section 5)."""


@dataclass(frozen=True)
class Ranks:
    """Where each drawn picture finds its own ground truth among those of all evaluated captions."""

    closer: npt.NDArray[np.int64]
    """(N,) ground truths that are nearer than the own one; 0 is a hit at 1."""
    tied: npt.NDArray[np.int64]
    """(N,) ground truths exactly as near as the own one, itself included; above 1 where there are duplicates."""
    similarity: Numbers
    """(N,) cosine of the drawn picture and its own ground truth, in [-1, 1]."""
    gallery: int

    def hits(self, k: int) -> Numbers:
        """Return (N,) the chance, in [0, 1], that the own ground truth is among the nearest `k` when ties are broken at random."""
        return np.clip((k - self.closer) / self.tied, 0, 1)

    def recall(self, k: int) -> Interval:
        """Return R@k in [0, 1] with its Wilson interval over the captions."""
        return share_interval(self.hits(k))

    def r_precision(self, distractors: int = DISTRACTORS) -> Interval | None:
        """Return R-precision in [0, 1], `chosen_of` as a share; None where there are not that many others."""
        hits = self.chosen_of(distractors)
        return None if hits is None else share_interval(hits)

    def chosen_of(self, distractors: int = DISTRACTORS) -> Numbers | None:
        """Return (N,) the chance, in [0, 1], that the own one is nearest among itself and so many random others; None where there are too few others.

        With c of the N - 1 others nearer and t - 1 as near, the sum over j of the chance that the distractors hold none of the c and j of the t - 1,
        over j + 1: ties are broken at random. Drawing distractors once, as AttnGAN does, has this as its mean.
        """
        others = self.gallery - 1
        if others < distractors:
            return None
        of = {
            pair: _first_of(*pair, others=others, distractors=distractors) for pair in {*zip(self.closer.tolist(), self.tied.tolist(), strict=True)}
        }
        return np.asarray([of[pair] for pair in zip(self.closer.tolist(), self.tied.tolist(), strict=True)])

    def chance(self, k: int) -> float:
        """Return R@k of a picture that has nothing to do with its caption."""
        return min(1.0, k / self.gallery)

    def percentile(self) -> Interval:
        """Return the mean share of ground truths that are farther than the own one, in [0, 1]; chance is 0.5."""
        return mean_interval(self.percentiles())

    def percentiles(self) -> Numbers:
        """Return (N,) the share of ground truths that are farther than the own one, in [0, 1]."""
        middle = self.closer + (self.tied - 1) / 2
        return 1 - middle / max(1, self.gallery - 1)


@dataclass(frozen=True)
class Nearness:
    """The nearest training picture of each drawn one."""

    nearest: npt.NDArray[np.int64]
    """(N,) row of the training features."""
    ratio: Numbers
    """(N,) distance to it over its own distance to its nearest neighbour in the training set; below 1/3 counts as a copy."""

    def copied(self) -> npt.NDArray[np.bool_]:
        """Return (N,) whether a picture counts as a copy."""
        return self.ratio < COPY_RATIO

    def copy_rate(self) -> Interval:
        """Return the share of copies in [0, 1] with its Wilson interval."""
        return share_interval(self.copied())


def _first_of(closer: int, tied: int, *, others: int, distractors: int) -> float:
    whole = math.comb(others, distractors)
    left = others - closer - (tied - 1)
    ways = ((number, math.comb(tied - 1, number) * math.comb(left, distractors - number)) for number in range(min(tied - 1, distractors) + 1))
    return float(sum(Fraction(count, whole * (number + 1)) for number, count in ways))


def unit(features: Features) -> Features:
    """Return features (N, width) at unit length; a zero row stays zero."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.divide(features, np.where(length > 0, length, 1), dtype=np.float32)


def ground_truth_ranks(drawn: Features, truths: Features, *, own: Sequence[int] | None = None) -> Ranks:
    """Rank all ground truths (M, width) by cosine for each drawn picture (N, width); the own one of picture i is `own[i]`, or i where not given.

    Raises `ValueError` where the pictures and their ground truths are not equally many.
    """
    rows = np.arange(len(drawn)) if own is None else np.asarray(own)
    if len(rows) != len(drawn) or (own is None and len(drawn) != len(truths)):
        raise ValueError(f"{len(drawn)} drawn pictures do not pair with {len(truths) if own is None else len(rows)} ground truths.")
    gallery, queries = unit(truths), unit(drawn)
    closer, tied, similarity = [], [], []
    for start in range(0, len(queries), CHUNK):
        cosines = queries[start : start + CHUNK] @ gallery.T
        itself = cosines[np.arange(len(cosines)), rows[start : start + CHUNK]]
        closer.append((cosines > itself[:, None] + SAME).sum(axis=1))
        tied.append((np.abs(cosines - itself[:, None]) <= SAME).sum(axis=1))
        similarity.append(itself)
    return Ranks(np.concatenate(closer), np.concatenate(tied), np.concatenate(similarity).astype(np.float64), len(gallery))


def nearest_training(drawn: Features, training: Features) -> Nearness:
    """Find the nearest training picture t of each drawn picture x, and the ratio |x - t| / r(t).

    r(t) is the Euclidean distance from t to its nearest neighbour in the training set; duplicates of t (which a training set has by mistake) do not
    count as neighbours, or nothing could ever be a copy of them. x is a copy of t where |x - t| < r(t) / 3. Only the nearest t can be that:
    |x - t| < r(t) / 3 puts every other t' at |x - t'| >= r(t) - |x - t| > 2 r(t) / 3.
    Takes (N, width) and (M, width). Raises `ValueError` for fewer than two training pictures.
    """
    if len(training) < 2:
        raise ValueError(f"a nearest neighbour needs two training pictures or more, not {len(training)}.")
    nearest, distance = _neighbours(drawn, training, count=1)
    origins, places = np.unique(nearest[:, 0], return_inverse=True)
    _, around = _neighbours(training[origins], training, count=16)
    limit = SAME**0.5 * np.linalg.norm(training[origins], axis=1, keepdims=True)
    # Where all 16 nearest are duplicates the farthest of them stands in, which can only make a copy harder to call.
    radius = np.where(around > limit, around, np.inf).min(axis=1)
    radius = np.where(np.isfinite(radius), radius, around.max(axis=1))[places]
    ratio = np.where(radius > 0, distance[:, 0] / np.where(radius > 0, radius, 1), np.inf)
    return Nearness(nearest[:, 0], ratio)


def _neighbours(queries: Features, points: Features, *, count: int) -> tuple[npt.NDArray[np.int64], Numbers]:
    """Return the rows of the `count` nearest points and their distances, (N, count) each, nearest first."""
    count = min(count, len(points))
    squares = np.square(points, dtype=np.float64).sum(axis=1)
    rows, distances = [], []
    for start in range(0, len(queries), CHUNK):
        chunk = queries[start : start + CHUNK]
        order = np.argpartition(squares - 2 * (chunk @ points.T), count - 1, axis=1)[:, :count]
        # |x|² + |t|² - 2 x·t cancels for near pictures: it picks the candidates, their distances are computed anew.
        exact = np.stack([np.linalg.norm(points[near].astype(np.float64) - query, axis=1) for query, near in zip(chunk, order, strict=True)])
        by_distance = np.argsort(exact, axis=1)
        rows.append(np.take_along_axis(order, by_distance, axis=1))
        distances.append(np.take_along_axis(exact, by_distance, axis=1))
    return np.concatenate(rows), np.concatenate(distances)


def other_captions(captions: Sequence[str], *, count: int, seed: int = 0) -> list[int]:
    """Return for each of the first `count` captions the row of another one with other words, drawn at random; fewer where all captions are equal."""
    if len(set(captions)) < 2:
        return []
    random = np.random.default_rng(seed)
    partners = []
    for caption in captions[:count]:
        partner = int(random.integers(len(captions)))
        while captions[partner] == caption:
            partner = int(random.integers(len(captions)))
        partners.append(partner)
    return partners


def caption_sensitivity(drawn: Features, shuffled: Features, truths: Features, *, partners: Sequence[int]) -> Interval | None:
    """How much a picture changes with its caption, relative to how much the ground truths change: 0 if it ignores it, 1 as in reality.

    mean |f(x_i) - f(x'_i)| / mean |f(g_i) - f(g_p(i))|, where x'_i is drawn for the caption of row p(i) = `partners[i]` from the seed of x_i,
    and g are the ground truths. `drawn` and `shuffled` are (n, width), `truths` (N, width) with N >= n.
    None where all those ground truths are alike.
    """
    count = len(partners)
    moved = np.linalg.norm(drawn[:count] - shuffled, axis=1)
    apart = np.linalg.norm(truths[:count] - truths[list(partners)], axis=1)
    return ratio_interval(moved, apart) if apart.mean() > 0 else None


def seed_diversity(drawn: Features, reseeded: Features, truths: Features) -> Interval | None:
    """How much a picture changes with its seed, relative to how much ground truths differ: 0 if all seeds draw the same.

    mean |f(x_i) - f(x'_i)| / mean |f(g_i) - f(g_i+1)|, where x'_i is drawn for the same caption from another seed. `reseeded` is (n, width), `drawn` and
    `truths` (N, width) with N >= n. None where all those ground truths are alike.
    """
    count = len(reseeded)
    moved = np.linalg.norm(drawn[:count] - reseeded, axis=1)
    apart = np.linalg.norm(truths[:count] - np.roll(truths, 1, axis=0)[:count], axis=1)
    return ratio_interval(moved, apart) if apart.mean() > 0 else None
