"""Two evaluations row by row: what a difference of figures is when the luck of the rows is taken out."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tonggan.evaluation.card import Card, Figure
from tonggan.evaluation.intervals import RESAMPLES, Interval, percentiles, resample_weights

Rows = Sequence[Mapping[str, Any]]
"""What rows.jsonl holds; `figures` of a row maps a figure's key to a number, or to two, where the figure is the sum of the first over that of the second."""


@dataclass(frozen=True)
class Difference:
    """How much higher a figure is than the first card's, with a 95 % interval; `paired` where it comes from the same rows on both sides."""

    interval: Interval
    paired: bool
    farther: Interval | None = None
    """How much farther it is from the ground truths' own value, where that was given."""
    decided: bool = True
    """Whether there are rows enough for the interval to be believed."""

    @property
    def real(self) -> bool:
        """Whether the interval leaves zero out, and can be believed."""
        return self.decided and (self.interval.low > 0 or self.interval.high < 0)


def load_rows(card: Path) -> Rows | None:
    """Return the rows beside a card, or None where they are missing or cannot be read: then intervals have to do."""
    path = card.with_name("rows.jsonl")
    try:
        # Not splitlines(), which parts at U+2028, too.
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError):
        return None
    return rows if all(isinstance(row, dict) and isinstance(row.get("figures"), dict) for row in rows) else None


def difference(
    first: Figure, other: Figure, *, rows: tuple[Rows | None, Rows | None], same_rows: bool, truth: float | None = None
) -> Difference | None:
    """Return how much higher `other` is than `first`: by a paired bootstrap over the rows where both have them, else by both intervals.

    Without rows the errors of both are taken as independent, which makes an interval too wide rather than too narrow where the rows are the same.
    With `truth`, the ground truths' own value, it is told how much farther from it `other` is, too. None where a figure has no interval and no rows.
    """
    if same_rows and rows[0] is not None and rows[1] is not None and len(rows[0]) == len(rows[1]):
        sides = [_values(each, first.key) for each in rows]  # type: ignore[arg-type]
        if sides[0] is not None and sides[1] is not None:
            return _paired(sides[0], sides[1], truth)
    if first.low is None or first.high is None or other.low is None or other.high is None:
        return None
    error = float(np.hypot(first.high - first.low, other.high - other.low)) / 2

    def around(value: float) -> Interval:
        return Interval(value, value - error, value + error)

    # A distance to a fixed value varies no more than the figure itself.
    farther = None if truth is None else around(abs(other.value - truth) - abs(first.value - truth))
    return Difference(around(other.value - first.value), False, farther)


def same_rows(first: Card, other: Card) -> bool:
    """Return whether two cards are of the same rows in the same order."""
    return (first.data.rows_hash, first.data.content_hash) == (other.data.rows_hash, other.data.content_hash)


def _values(rows: Rows, key: str) -> np.ndarray | None:
    """Return (rows, 2): what a figure is the ratio of, row by row; None where a row does not have it."""
    found = [row["figures"].get(key) for row in rows]
    if any(each is None for each in found):
        return None
    return np.asarray([each if isinstance(each, list) else [each, 1.0] for each in found], dtype=np.float64)


def _paired(first: np.ndarray, other: np.ndarray, truth: float | None) -> Difference:
    weights = resample_weights(len(first), resamples=RESAMPLES, seed=0)

    def ratio(values: np.ndarray, by: np.ndarray) -> np.ndarray:
        above, below = values[:, 0] @ by, values[:, 1] @ by
        return np.divide(above, below, out=np.zeros_like(above), where=below > 0)

    whole = np.ones((len(first), 1))

    def interval(told: Callable[[np.ndarray], np.ndarray]) -> Interval:
        values, resampled = (told(ratio(other, by)) - told(ratio(first, by)) for by in (whole, weights))
        return percentiles(float(values[0]), resampled)

    return Difference(interval(np.asarray), True, None if truth is None else interval(lambda values: np.abs(values - truth)))
