"""Synchrony: how well the onsets of sounds agree with those that are true."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tonggan.evaluation.card import Figure
from tonggan.evaluation.intervals import Interval, ratio_interval


@dataclass(frozen=True)
class Agreement:
    """Onsets of one clip: how many are true, how many were found, and by how many seconds each of the matched ones is late."""

    true: int
    found: int
    late: tuple[float, ...]


def agree(true: Sequence[float], found: Sequence[float], *, tolerance_seconds: float) -> Agreement:
    """Match onsets (both rising) one to one within a tolerance, as many as can be: each true one takes the first that is free."""
    late: list[float] = []
    place = 0
    for second in true:
        while place < len(found) and found[place] < second - tolerance_seconds:
            place += 1
        if place < len(found) and found[place] <= second + tolerance_seconds:
            late.append(found[place] - second)
            place += 1
    return Agreement(len(true), len(found), tuple(late))


def synchrony_figures(agreements: Sequence[Agreement]) -> list[Figure]:
    """Return F1 of all clips together with its parts, mean lateness and its spread, and the error of the count.

    Where nothing is true and nothing found, F1 is 1.
    """
    count = len(agreements)
    matched, true, found = np.asarray([(len(each.late), each.true, each.found) for each in agreements], dtype=np.float64).T
    whole = ratio_interval(2 * matched, true + found) if (true + found).any() else Interval(1.0, 1.0, 1.0)
    figures = [Figure.of("onset_f1", whole, count, precision=_share(matched, found), recall=_share(matched, true))]
    late = np.asarray([second for each in agreements for second in each.late])
    if len(late):
        # By clips, not by onsets: those of one clip are late together, and one clip alone has no interval.
        mean = ratio_interval([sum(each.late) for each in agreements], matched)
        low, high = (mean.low, mean.high) if (matched > 0).sum() > 1 else (None, None)
        figures.append(Figure("onset_lateness", mean.value, low, high, len(late), {"spread": float(late.std())}))
    if true.any():
        wrong = ratio_interval(np.abs(true - found), true)
        figures.append(Figure.of("onset_count_error", wrong, count))
    return figures


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else 1.0
