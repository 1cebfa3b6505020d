"""The loader: which sample comes when, and with which caption, is a function of (seed, position) alone."""

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from tonggan.data.augment import LABELS, Augmentation
from tonggan.data.order import mix, permuted, uniform
from tonggan.data.pack import Pack, PackedRow
from tonggan.data.preferences import Pairs, Preferences
from tonggan.data.seen_rows import Rows
from tonggan.data.windows import Shifted, Shifts, first_frames, middle_frame, windows_of
from tonggan.errors import UserError
from tonggan.modalities.image import to_float
from tonggan.modalities.text import Caption

FIELD = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Language:
    """How often a language is drawn (relative to the others that a row has) and in which phrasings."""

    weight: float = 1.0
    templates: Sequence[str] = ("{caption}",)


Phrasings = Mapping[str, Language]
AS_IT_IS = Language()


@dataclass(frozen=True)
class Batch:
    """A batch: modality -> what encoders take, modality -> what decoders should make, and the rows of the pack it is made of.

    `text` is a list of `Caption`, `image` float32 (batch, 3, size, size) in [-1, 1], `video` uint8 (batch, frames, 3, size, size), `audio` float32
    (batch, samples) in [-1, 1] of the same window of a clip. Inputs and targets differ where a recipe phrases them apart.
    Of a clip `image` is the frame in the middle of the window.
    `changes` (batch, labels) say what augmentation did to each sample, zero for nothing; None without augmentation.
    `shifted` are sounds of the same clips at another time; None where none are asked for.
    `pairs` are as many preferences beside the samples; None where nothing is learned from preferences.
    """

    inputs: Mapping[str, Any]
    targets: Mapping[str, Any]
    indices: np.ndarray
    changes: torch.Tensor | None = None
    pairs: Pairs | None = None
    shifted: Shifted | None = None


def fill(template: str, row: PackedRow, caption: str) -> str | None:
    """Return a template filled from a row, or None where the row lacks a field; names are `caption`, else dotted names of tags (`label.en`)."""
    missing = False

    def look_up(match: re.Match[str]) -> str:
        nonlocal missing
        value: Any = caption if match[1] == "caption" else row.tags
        for part in [] if match[1] == "caption" else match[1].split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else "" if value is None else str(value)
        missing |= not text
        return text

    filled = FIELD.sub(look_up, template)
    return None if missing else filled


def _phrased(row: PackedRow, caption: str, templates: Sequence[str]) -> list[str]:
    """Return a caption in every template that the row can fill; as it is where it can fill none: other data has other tags than a recipe's."""
    return [filled for template in templates if (filled := fill(template, row, caption)) is not None] or [caption]


def offered(row: PackedRow, phrasings: Phrasings | None) -> Phrasings:
    """Return the languages of `phrasings` that a row has captions in; all that it has, as they are, where there are none."""
    found = {name: each for name, each in (phrasings or {}).items() if each.weight > 0 and row.captions.get(name)}
    return found or {name: AS_IT_IS for name, texts in row.captions.items() if texts}


def chosen_caption(row: PackedRow, phrasings: Phrasings | None, draw: int) -> Caption:
    """Return the caption of a row that the number `draw` (uniform, 63 bits) stands for; empty where the row has none."""
    spoken = offered(row, phrasings)
    if not spoken:
        return Caption("")
    weights = np.cumsum([each.weight for each in spoken.values()])
    point = (draw % 1_000_003) / 1_000_003 * weights[-1]
    name = list(spoken)[int(np.searchsorted(weights, point, side="right"))]
    captions = row.captions[name]
    options = _phrased(row, captions[draw // 65_537 % len(captions)], spoken[name].templates)
    return Caption(options[draw // 1_000_003 % len(options)], language=name)


def first_caption(row: PackedRow, language: str, phrasings: Phrasings | None) -> Caption | None:
    """Return the first phrasing of a language that fits the row (what evaluation uses), or None where the row has no caption in it."""
    captions = row.captions.get(language)
    if not captions:
        return None
    templates = phrasings[language].templates if phrasings and language in phrasings else AS_IT_IS.templates
    return Caption(_phrased(row, captions[0], templates)[0], language=language)


def all_phrasings(row: PackedRow, phrasings: Phrasings | None) -> list[str]:
    """Return every phrasing of every caption of a row."""
    spoken = offered(row, phrasings)
    told = (text for language, each in spoken.items() for caption in row.captions[language] for text in _phrased(row, caption, each.templates))
    return list(dict.fromkeys(told))


def unfilled(pack: Pack, indices: np.ndarray, phrasings: Phrasings, *, languages: Container[str]) -> list[str]:
    """Return the templates of `languages` that no row of `indices` with a caption in the language fills: misspelt, or made for other data."""
    left = [(language, template) for language, each in phrasings.items() if language in languages for template in each.templates]
    for index in indices:
        if not left:
            break
        row = pack.row(int(index))
        left = [(name, template) for name, template in left if not row.captions.get(name) or fill(template, row, row.captions[name][0]) is None]
    return list(dict.fromkeys(template for _, template in left))


def fields_of(tags: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted names that a template has for a row's tags."""
    return [
        name for key, value in tags.items() for name in (fields_of(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"])
    ]


def batch_of(
    pack: Pack, indices: np.ndarray, captions: Sequence[str], targets: Sequence[str] | None = None, *, places: np.ndarray | None = None
) -> Batch:
    """Return the batch of given rows with given captions, and what decoders should say of them (the captions, unless given).

    Of clips, the window begins at `places` (rows,): 0 is the beginning, 1 the last that is whole; at the beginning unless given.
    """
    seen = _pictures(pack, indices) if pack.modality == "image" else windows_of(pack, indices, first_frames(pack, indices, places))
    inputs = {"text": list(captions)} | seen
    return Batch(inputs, inputs if targets is None else inputs | {"text": list(targets)}, indices)


def _pictures(pack: Pack, indices: np.ndarray) -> dict[str, Any]:
    order = np.argsort(indices)  # the file is read front to back
    pictures = np.empty((len(indices), *pack.pictures.shape[1:]), dtype=np.uint8)
    pictures[order] = pack.pictures[indices[order]]
    return {"image": to_float(torch.from_numpy(pictures))}


def hold_out(rows: Rows, *, share: float, seed: int, seen: Rows | None = None) -> npt.NDArray[np.bool_]:
    """Return which of `rows` (`Pack.digests`) are held out: a `share` of them, one at least of two or more, chosen by a hash of what is in them.

    So a row is held out or not whatever else the pack holds and wherever it stands, and rows that are alike go together. Where some of the rows were `seen` before, by a
    model that is begun from, say, the others alone are held out: all of them if they are fewer than the share.
    """
    if share <= 0 or len(rows) < 2:
        return np.zeros(len(rows), dtype=bool)
    with np.errstate(over="ignore"):
        drawn = uniform(mix(rows + np.uint64(seed) * np.uint64(1_000_003)))
    new = np.ones(len(rows), dtype=bool) if seen is None else ~np.isin(rows, seen)
    if new.all() or not new.any():
        return np.asarray(drawn <= max(np.nextafter(share, 0), drawn.min()))
    count = max(int((drawn[new] < share).sum()), round(share * len(rows)), 1)
    return np.asarray(new & (drawn <= np.sort(drawn[new])[:count][-1]))


@dataclass(frozen=True)
class Balance:
    """Rows that fill the template `by` the same are one group; a group's share of the samples goes by its number of rows to the power `alpha`.

    1 is the data as it is, 0 gives every group as many samples; 0.5 is between (Mahajan et al. 2018, arXiv:1805.00932, section 2.2, square root).
    """

    by: str
    alpha: float = 0.5

    def weights(self, pack: Pack, indices: np.ndarray) -> np.ndarray:
        """Return the share of samples of each of `indices`; raises `UserError` where no row can fill the template."""
        groups = [fill(self.by, pack.row(int(index)), "") for index in indices]
        if not any(groups):
            raise UserError(f"data.balance.by: no row to train on has what '{self.by}' asks for. Name other columns of the data set.")
        sizes = Counter(groups)
        raw = np.asarray([1.0 if group is None else sizes[group] ** (self.alpha - 1) for group in groups])
        return raw / raw.sum()


class Loader:
    """An endless stream of samples: epoch after epoch, each in its own order; a batch may straddle two.

    With a `balance`, an epoch has as many samples as there are rows, and each row as many of them as its share comes to, up or down to the next whole
    number by chance. Of clips that are longer than a window, it takes one from anywhere, or the first; with `shifts`, what is heard at another time comes beside. With
    `preferences`, as many of those come beside the samples. Raises `UserError` for `shifts` that no clip has room for.
    """

    def __init__(
        self,
        pack: Pack,
        indices: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        phrasings: Phrasings | None = None,
        target_phrasings: Phrasings | None = None,
        augmentation: Augmentation | None = None,
        windows: Literal["anywhere", "first"] = "anywhere",
        preferences: Preferences | None = None,
        shifts: Shifts | None = None,
        balance: Balance | None = None,
    ) -> None:
        self.pack, self.rows, self.augmentation, self.windows, self.preferences = pack, indices, augmentation, windows, preferences
        self.batch_size, self.seed, self.phrasings, self.target_phrasings = batch_size, seed, phrasings, target_phrasings
        self.shifts = shifts
        self._ends = None if balance is None else np.cumsum(balance.weights(pack, indices))
        if shifts is not None:
            shifts.check_room(pack, indices)

    def batch(self, position: int, *, size: int | None = None) -> Batch:
        """Return samples number `position` to `position + size - 1`; `batch_size` of them unless a size is given."""
        positions = np.arange(position, position + (size or self.batch_size), dtype=np.int64)
        indices = np.asarray(self.rows[self._places(positions)])
        with np.errstate(over="ignore"):
            draws = mix(positions.astype(np.uint64) * np.uint64(2) + mix(np.asarray([self.seed], dtype=np.uint64))) >> np.uint64(1)
        rows = [self.pack.row(int(index)) for index in indices]
        captions = [chosen_caption(row, self.phrasings, int(draw)) for row, draw in zip(rows, draws, strict=True)]
        targets = None
        if self.target_phrasings is not None:
            others = mix(draws) >> np.uint64(1)
            targets = [chosen_caption(row, self.target_phrasings, int(draw)) for row, draw in zip(rows, others, strict=True)]
        begins = uniform(mix(~draws)) if self.windows == "anywhere" else None
        batch = batch_of(self.pack, indices, captions, targets, places=begins)
        if self.shifts is not None:
            batch = replace(batch, shifted=self.shifts.of(self.pack, indices, places=begins, draws=uniform(mix(mix(~draws)))))
        if self.preferences is not None:
            batch = replace(batch, pairs=self.preferences.pairs(positions, seed=self.seed))
        return batch if self.augmentation is None else self._augmented(batch, self.augmentation, draws)

    def _places(self, positions: np.ndarray) -> np.ndarray:
        """Return the places among `rows` of samples."""
        count, epochs = len(self.rows), positions // len(self.rows)
        places = permuted(positions % count, count, seed=self.seed, epochs=epochs)
        if self._ends is None:
            return places
        # Systematic sampling: one point in each count-th part of the shares, moved by the same chance in one epoch.
        with np.errstate(over="ignore"):
            moved = uniform(mix(epochs.astype(np.uint64) + mix(np.asarray([self.seed], dtype=np.uint64))))
        return np.minimum(np.searchsorted(self._ends, (places + moved) / count, side="right"), count - 1)

    def _augmented(self, batch: Batch, augmentation: Augmentation, draws: np.ndarray) -> Batch:
        with np.errstate(over="ignore"):
            numbers = mix(draws[:, None] * np.uint64(64) + np.arange(1, 2 * len(LABELS) + 1, dtype=np.uint64))
        changes = augmentation.labels(uniform(numbers))
        if "video" in batch.inputs:
            video = augmentation.of_clips(batch.inputs["video"], changes)
            changed = {"video": video, "image": middle_frame(video)}
        elif "image" in batch.inputs:
            changed = {"image": augmentation(batch.inputs["image"], changes)}
        else:
            raise UserError("data.augment: sounds alone cannot be changed. Leave it out.")
        inputs = {**batch.inputs, **changed}
        targets = inputs if batch.targets is batch.inputs else {**batch.targets, **changed}
        return replace(batch, inputs=inputs, targets=targets, changes=changes)
