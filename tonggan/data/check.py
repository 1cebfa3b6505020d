"""A data set looked through before it is trained on: what is there, what is broken, what is double."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tonggan.data.layouts import recognise
from tonggan.data.layouts.tables import WHAT
from tonggan.data.pack import MAX_BROKEN_RATE, Pack, is_pack, leaving_out, most_broken
from tonggan.data.records import Row
from tonggan.errors import UserError
from tonggan.modalities.clip_facts import inspect_clip, inspect_sound
from tonggan.modalities.image import inspect_picture, open_picture
from tonggan.progress import Show

SHOWN = 10


@dataclass(frozen=True)
class Lengths:
    """How many captions a language has, and their length in characters."""

    captions: int
    shortest: int
    median: float
    longest: int


@dataclass(frozen=True)
class Report:
    """What was found. `problems` and `missing_pictures` are errors; `remarks` are handled when packing; `duplicates` are files alike in two splits, `repeated` those
    alike in one: held out under one name, such a file is trained on under the other. `notes` are sentences about the whole."""

    layout: str
    description: str
    splits: Mapping[str, int]
    languages: Mapping[str, Lengths]
    problems: Mapping[str, str]
    remarks: Mapping[str, list[str]]
    missing_pictures: tuple[str, ...]
    uncaptioned: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    repeated: tuple[tuple[str, ...], ...] = ()
    modality: str = "image"
    notes: tuple[str, ...] = ()
    unusable: int = 0
    """Rows whose file is broken or missing."""

    @property
    def has_errors(self) -> bool:
        """Whether something must be mended."""
        return bool(self.problems or self.missing_pictures)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self) | {"has_errors": self.has_errors}

    def print(self, console: Console) -> None:
        """Print a table, and at most ten names of each kind; what a data set calls its files and splits is text, never markup."""
        console.print(Text(f"recognised: {self.description}"), soft_wrap=True)
        for note in self.notes:
            console.print(Text(note), soft_wrap=True)
        table = Table("what", "count", "names")
        for split, count in self.splits.items():
            table.add_row(Text(f"split {split}"), f"{count:,}", "")
        for language, each in self.languages.items():
            table.add_row(f"captions {language}", f"{each.captions:,}", f"{each.shortest} to {each.longest} characters, median {each.median:g}")
        for kind, style, names in self._kinds():
            if names:
                table.add_row(Text(kind, style), f"{len(names):,}", Text(", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")))
        console.print(table)
        console.print(Text(self._advice()), soft_wrap=True, style="red" if self.has_errors else None)

    def _advice(self) -> str:
        rows = sum(self.splits.values())
        if not self.has_errors:
            return "no errors"
        if self.unusable <= most_broken(rows, MAX_BROKEN_RATE):
            return "errors: mend them; train and data pack leave them out"
        return f"errors: mend them; too many for train and data pack, which leave them out only with {leaving_out(self.unusable, rows)}"

    def _kinds(self) -> Iterator[tuple[str, str, Sequence[str]]]:
        """Yield what was found: its kind, its colour, and the names that it was found of."""
        by_problem: dict[str, list[str]] = defaultdict(list)
        for name, problem in self.problems.items():
            by_problem[problem].append(name)
        what = WHAT[self.modality]
        yield from ((problem, "red", names) for problem, names in by_problem.items())
        yield from ((remark, "", names) for remark, names in self.remarks.items())
        yield f"captions without {what}", "red", self.missing_pictures
        yield f"{what} without caption", "", self.uncaptioned
        yield f"same {what} in two splits", "", [" = ".join(names) for names in self.duplicates]
        yield f"same {what} under several names", "", [" = ".join(names) for names in self.repeated]


@dataclass(frozen=True)
class Found:
    """What was found in one file: a problem (empty for none), remarks, and a digest that is the same for the same contents."""

    problem: str = ""
    remarks: tuple[str, ...] = ()
    digest: str = ""


def _look_at_picture(row: Row) -> Found:
    data = row.source.read()
    facts = inspect_picture(data)
    if facts.problems:
        return Found(facts.problems[0], facts.remarks)
    picture = open_picture(data, name=row.file_name)
    return Found("", facts.remarks, hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest())


def _look_at_clip(row: Row) -> Found:
    facts = inspect_clip(row.source.path, sound=row.sound)
    return Found(next(iter(facts.problems), ""), facts.remarks, facts.digest)


def _look_at_sound(row: Row) -> Found:
    facts = inspect_sound(row.source.path)
    return Found(next(iter(facts.problems), ""), facts.remarks, facts.digest)


LOOKS: Mapping[str, Callable[[Row], Found]] = {"image": _look_at_picture, "video": _look_at_clip, "audio": _look_at_sound}
"""Modality of a data set -> what looks at a row."""


def check(path: Path, *, progress: Show | None = None) -> Report:
    """Look through the data set at `path`; every file is decoded. Of a pack, what it holds is told.

    Raises `UserError` where nothing is recognised, and for a damaged pack.
    """
    if is_pack(path):
        return _of_pack(Pack(path))
    dataset = recognise(path)
    splits: Counter[str] = Counter()
    lengths: dict[str, list[int]] = defaultdict(list)
    problems: dict[str, str] = {}
    remarks: dict[str, list[str]] = defaultdict(list)
    alike: dict[str, list[tuple[str, str]]] = defaultdict(list)
    absent, known_without = set(dataset.missing_pictures), set(dataset.uncaptioned)
    empty: list[str] = []
    unusable = 0
    total = sum(1 for _ in dataset.rows()) if progress is not None else 0
    for number, row in enumerate(dataset.rows(), 1):
        if progress is not None:
            progress("checking", number, total)
        splits[row.split] += 1
        if not row.captions and row.file_name not in known_without:  # its text is empty, which layouts that read no text beforehand do not know
            empty.append(row.file_name)
        for language, texts in row.captions.items():
            lengths[language] += map(len, texts)
        if row.file_name in absent:
            unusable += 1
            continue
        try:
            found = LOOKS[dataset.modality](row)
        except UserError as error:
            found = Found(str(error))
        for remark in found.remarks:
            remarks[remark].append(row.file_name)
        if found.problem:
            problems[row.file_name] = found.problem
            unusable += 1
        else:
            alike[found.digest].append((row.split, row.file_name))
    doubles = [same for same in alike.values() if len(same) > 1]
    return Report(
        dataset.layout,
        dataset.description,
        splits=dict(splits),
        languages=_languages(lengths),
        problems=problems,
        remarks=dict(remarks),
        missing_pictures=dataset.missing_pictures,
        uncaptioned=(*dataset.uncaptioned, *empty),
        duplicates=tuple(tuple(name for _, name in same) for same in doubles if len({split for split, _ in same}) > 1),
        repeated=tuple(tuple(name for _, name in same) for same in doubles if len({split for split, _ in same}) == 1),
        modality=dataset.modality,
        notes=dataset.notes,
        unusable=unusable,
    )


def _languages(lengths: Mapping[str, Sequence[int]]) -> dict[str, Lengths]:
    return {name: Lengths(len(each), min(each), median(each), max(each)) for name, each in sorted(lengths.items())}


def _of_pack(pack: Pack) -> Report:
    """Return what a pack holds; what was broken was left out when it was made."""
    lengths: dict[str, list[int]] = defaultdict(list)
    for index in range(len(pack)):
        for language, texts in pack.row(index).captions.items():
            lengths[language] += map(len, texts)
    framing, facts = pack.framing, pack.facts
    seen, heard = f"{framing.size} x {framing.size}, {framing.fit}", f"{framing.sample_rate_hz:,} Hz"
    form = {"image": seen, "video": f"{seen}, {framing.frames_per_second:g} frames a second, {heard}", "audio": heard}[pack.modality]
    description = f"pack of {WHAT[pack.modality]} ({form}), made of: {facts['description']}"
    left_out = {"left out, unreadable": list(facts["skipped"])} if facts.get("skipped") else {}
    notes = (*facts.get("notes", ()), *([f"{facts['uncaptioned']:,} without a caption, when it was made"] if facts.get("uncaptioned") else []))
    return Report(
        "pack",
        description,
        splits=dict(facts["splits"]),
        languages=_languages(lengths),
        problems={},
        remarks=left_out,
        missing_pictures=(),
        uncaptioned=(),
        duplicates=(),
        modality=pack.modality,
        notes=notes,
    )
