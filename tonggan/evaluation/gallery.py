"""Which pictures a report shows: the first ones, unchosen; the best and the worst; those nearest to a training picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from tonggan.data.pack import Pack
from tonggan.evaluation.drawing import Chosen, Drawn
from tonggan.evaluation.intervals import Numbers
from tonggan.evaluation.measure import Measured
from tonggan.modalities.audio import Sound

FIRST = 48
EXTREMES = 16
NEAREST = 12


@dataclass(frozen=True)
class Specimen:
    """One drawn picture as a report shows it. `training` is the nearest training picture; `ratio` says how near (below 1/3 is a copy)."""

    caption: str
    rank: int
    """Place of the own ground truth, 1 is best."""
    drawn: Image.Image
    truth: Image.Image
    training: Image.Image | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Told:
    """One picture, or a sound as it is seen, with what was said of it, what should have been said, and what is said of the nearest in training."""

    picture: Image.Image
    said: str
    truth: str
    nearest: str
    right: bool
    score: float
    """CIDEr-D."""
    sound: Sound | None = None
    """What is heard, where the picture is that of a sound."""


@dataclass(frozen=True)
class Heard:
    """A row with the sound that was made, float32 (samples,), the true one, both on a timeline; `score` in [0, 1] orders them, `verdict` says it in words."""

    caption: str
    timeline: Image.Image
    made: npt.NDArray[np.float32]
    true: npt.NDArray[np.float32]
    sample_rate_hz: int
    score: float
    verdict: str


@dataclass(frozen=True)
class Gallery:
    """The specimens of a report; `nearest` is empty without training pictures."""

    first: tuple[Specimen, ...]
    best: tuple[Specimen, ...]
    worst: tuple[Specimen, ...]
    nearest: tuple[Specimen, ...]


def picked(scores: Sequence[float] | Numbers, *, first: int, extremes: int) -> list[int]:
    """Return the rows that a report shows, in order: the `first` ones, and as many as `extremes` of the lowest and of the highest score."""
    order = np.argsort(scores, kind="stable").tolist()
    return sorted({*range(min(first, len(order))), *order[:extremes], *order[-extremes:]})


def gallery(chosen: Chosen, drawn: Drawn, measured: Measured, *, pack: Pack) -> Gallery:
    """Pick the specimens: by rank of the own ground truth, among equals by similarity to it."""
    order = np.lexsort((-measured.ranks.similarity, measured.ranks.closer))
    nearness = measured.nearness
    copies = np.argsort(nearness.ratio)[:NEAREST] if nearness else np.empty(0, dtype=np.int64)

    def shown(numbers: Sequence[int] | npt.NDArray[np.int64], *, training: bool = False) -> tuple[Specimen, ...]:
        return tuple(_specimen(int(number), chosen, drawn, measured, pack=pack, training=training) for number in numbers)

    count = len(order)
    extremes = min(EXTREMES, count // 2)
    return Gallery(shown(range(min(FIRST, count))), shown(order[:extremes]), shown(order[::-1][:extremes]), shown(copies, training=True))


def _specimen(number: int, chosen: Chosen, drawn: Drawn, measured: Measured, *, pack: Pack, training: bool) -> Specimen:
    sample = chosen.samples[number]
    rank, truth = int(measured.ranks.closer[number]) + 1, packed_picture(pack, sample.index)
    if not training or measured.nearness is None or measured.reference is None:
        return Specimen(sample.caption, rank, drawn.pictures[number], truth)
    near = measured.reference.rows[int(measured.nearness.nearest[number])]
    return Specimen(sample.caption, rank, drawn.pictures[number], truth, packed_picture(pack, near), float(measured.nearness.ratio[number]))


def packed_picture(pack: Pack, index: int) -> Image.Image:
    """Return a picture of a pack."""
    return Image.fromarray(np.ascontiguousarray(np.moveaxis(pack.pictures[index], 0, -1)))
