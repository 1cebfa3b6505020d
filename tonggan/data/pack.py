"""Packs: pictures, frames and samples as memory-mapped arrays, captions as JSON lines with an offset table: training never decodes, memory never grows."""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from tonggan.data.forms import FORMS, Column
from tonggan.data.layouts import recognise
from tonggan.data.records import Row
from tonggan.errors import UserError, nearest
from tonggan.files import clear_left, one_at_a_time, replacing
from tonggan.modalities import AS_PACKED, Framing
from tonggan.progress import Show

FORMAT = 1
SUFFIXES = {"uint8": "u8", "int16": "i16"}
READ_AS = 3
"""Counts up where data sets are read otherwise than before, so that packs in a cache are made anew.

2: rows of a table that name the same file are one; 3: splits are known by any word of a name, in whatever case.
"""
LOOKED_AT, BLOCK = 64, 1024
"""How many blocks of a row are looked at to tell it from others, and their bytes."""
MOST_SPLITS = 256
"""The number of a row's split is kept in one byte."""
MAX_BROKEN_RATE = 0.01
"""Share of files that may be broken, unless another is asked for."""
FEW_BROKEN = 5
"""So many broken files are left out whatever their share, of ten rows for each: of sixty clips one is more than 1 %, and no reason to stop."""


@dataclass(frozen=True)
class PackedRow:
    """What a pack keeps of a row beside its picture."""

    file_name: str
    captions: Mapping[str, tuple[str, ...]]
    split: str
    tags: Mapping[str, Any]


class Pack:
    """A packed data set, opened for reading.

    Attributes:
        facts: what pack.json says: modality, layout, counts, skipped files, content hash.
        framing: the form of what is kept; `clip_seconds` is how much of a clip is taken at once, and may be chosen anew each time.
    """

    def __init__(self, path: Path, *, clip_seconds: float = AS_PACKED.clip_seconds) -> None:
        self.path = path
        self.facts = _facts(path)
        self.framing = Framing(**self.facts["framing"], clip_seconds=clip_seconds)
        self.modality: str = self.facts["modality"]
        self._columns = FORMS[self.modality].columns(self.framing)
        try:
            self._values = {name: _mapped(path, name, column) for name, column in self._columns.items()}
            self._ends = {name: np.load(path / f"{name}-ends.npy") for name, column in self._columns.items() if not column.single}
            self._lines = np.asarray(np.memmap(path / "rows.jsonl", dtype=np.uint8, mode="r"))
            self._offsets = np.asarray(np.load(path / "offsets.npy", mmap_mode="r"))
            self._splits = np.load(path / "splits.npy", mmap_mode="r")
            self._check_lengths()
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: the pack is damaged ({error}). Remove it and pack again.") from error

    def _check_lengths(self) -> None:
        for name, values in self._values.items():
            wanted = int(self._ends[name][-1]) if name in self._ends else len(self)
            if len(values) != wanted:
                raise ValueError(f"{len(values)} {name}, not {wanted}")

    @property
    def pictures(self) -> np.ndarray:
        """Memory-mapped uint8 (rows, 3, size, size) of a pack of pictures; raises `UserError` for another."""
        return self._column("pictures")

    def items(self, name: str, index: int) -> np.ndarray:
        """Return the items of a column that belong to a row, such as its `frames` (frames, 3, size, size) or `samples` (samples,)."""
        values, ends = self._column(name), self._ends[name]
        return values[ends[index] : ends[index + 1]]

    def lengths(self, name: str, indices: np.ndarray) -> np.ndarray:
        """Return how many items of a column belong to each of some rows (rows,)."""
        self._column(name)
        return self._ends[name][indices + 1] - self._ends[name][indices]

    def digests(self, indices: np.ndarray) -> np.ndarray:
        """Return a number for each row (rows,), uint64: the same for the same picture, clip or sound in whatever pack of this form.

        What is longer than `LOOKED_AT` blocks is told by blocks from all over it. A clip is told by its sound, by its frames only where it is silent: frames
        differ from one encoding of the same pictures to the next.
        """
        return np.asarray([self._digest(int(index)) for index in indices], dtype=np.uint64)

    def _digest(self, index: int) -> int:
        bytes_of = {
            name: (self._values[name][index] if column.single else self.items(name, index)).reshape(-1).view(np.uint8)
            for name, column in self._columns.items()
        }
        telling = [name for name, column in self._columns.items() if column.tells and bytes_of[name].any()]
        digest = hashlib.blake2b(digest_size=8)
        for name in telling or bytes_of:
            flat = bytes_of[name]
            digest.update(len(flat).to_bytes(8, "little"))
            whole = len(flat) <= LOOKED_AT * BLOCK
            for begin in [0] if whole else np.linspace(0, len(flat) - BLOCK, LOOKED_AT).astype(int):
                digest.update(flat[begin : None if whole else begin + BLOCK].tobytes())
        return int.from_bytes(digest.digest(), "little")

    def _column(self, name: str) -> np.ndarray:
        if name not in self._values:
            raise UserError(f"{self.path} is a pack of {self.modality}, without {name}: this needs other data.")
        return self._values[name]

    def otherwise(self, framing: Framing) -> dict[str, Any]:
        """Return what this pack was framed by otherwise than `framing` says: setting -> its value here."""
        return {name: found for name in FORMS[self.modality].framed_by if (found := getattr(self.framing, name)) != getattr(framing, name)}

    def require(self, *modalities: str, arrow: str) -> None:
        """Raise `UserError` where the pack is of none of the modalities that an arrow is judged on."""
        if self.modality not in modalities:
            raise UserError(f"{self.path} is a pack of {self.modality}: {arrow} needs one of {' or '.join(modalities)}. Give other data.")

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.framing.size

    @classmethod
    def open(cls, path: Path) -> "Pack":
        """Open a pack; raises `UserError` where it is none, of another format, or damaged."""
        return cls(path)

    def __len__(self) -> int:
        return int(self.facts["count"])

    @property
    def content_hash(self) -> str:
        """SHA-256 of all columns and rows."""
        return str(self.facts["content_hash"])

    def row(self, index: int) -> PackedRow:
        """Return the row at `index`, read from disk."""
        row = json.loads(bytes(self._lines[self._offsets[index] : self._offsets[index + 1]]))
        captions = {language: tuple(texts) for language, texts in row["captions"].items()}
        return PackedRow(row["file_name"], captions, row["split"], row["tags"])

    def indices(self, split: str) -> np.ndarray:
        """Return the rows of a split; raises `UserError` with the splits there are."""
        names = list(self.facts["splits"])
        if split not in names:
            raise UserError(f"{self.path} has no split '{split}'.{nearest(split, names)}")
        return np.flatnonzero(self._splits == names.index(split))


def _mapped(path: Path, name: str, column: Column) -> np.ndarray:
    """Return a column's items; plain arrays over the maps, because every slice of a memmap object costs a microsecond more."""
    values = np.asarray(np.memmap(path / f"{name}.{SUFFIXES[column.dtype]}", dtype=column.dtype, mode="r"))
    return values.reshape(-1, *column.shape)


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads((path / "pack.json").read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise UserError(f"{path}: a pack of format {facts['format']}, this version reads {FORMAT}. Pack again.")
        if "framing" not in facts:  # written when there were packs of pictures alone
            facts |= {"modality": "image", "framing": {"size": facts["size"], "fit": facts["fit"]}}
        return facts
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not a pack (pack.json is missing or broken). Make one: tonggan data pack PATH --out DIR") from error


def is_pack(path: Path) -> bool:
    """Return whether `path` is a folder with pack.json."""
    return (path / "pack.json").is_file()


class _Writer:
    """Appends rows to the files of a pack that is being made."""

    def __init__(self, columns: Mapping[str, IO[bytes]], lines: IO[bytes]) -> None:
        self.columns, self.lines = columns, lines
        self.ends: dict[str, list[int]] = {name: [0] for name in columns}
        self.offsets, self.splits = [0], list[str]()
        self.digest = hashlib.sha256()

    def add(self, row: Row, items: Mapping[str, np.ndarray]) -> None:
        whole = {"file_name": row.file_name, "captions": row.captions, "split": row.split, "tags": row.tags}
        line = (json.dumps(whole, ensure_ascii=False, default=str) + "\n").encode("utf-8", "replace")  # half of a cut emoji is no character
        for name, values in items.items():
            stored = values.tobytes()
            self.columns[name].write(stored)
            self.digest.update(stored)
            self.ends[name].append(self.ends[name][-1] + len(values))
        self.lines.write(line)
        self.digest.update(line)
        self.offsets.append(self.offsets[-1] + len(line))
        self.splits.append(row.split)


def pack(
    path: Path, *, framing: Framing = AS_PACKED, out: Path, max_broken_rate: float = MAX_BROKEN_RATE, source: str = "", progress: Show | None = None
) -> Pack:
    """Pack the data set at `path` into the new folder `out`.

    Files that cannot be read are skipped, named and counted; above `max_broken_rate`, and more than a few, the pack is refused. Pictures without a
    caption are left out and counted. Raises `UserError` also where `out` exists, and for more than `MOST_SPLITS` splits.
    """
    if out.exists():
        raise UserError(f"{out} exists already. Choose another folder, or remove it.")
    if is_pack(path):
        raise UserError(f"{path} is a pack already. Give it to train as data.path and to evaluate as --data, or pack what it was made of.")
    dataset = recognise(path)
    form = FORMS[dataset.modality]
    columns = form.columns(framing)
    splits = [row.split for row in dataset.rows()]
    _split_names(path, splits)  # too many are said before hours of packing
    clear_left(out)
    skipped: dict[str, str] = {}
    known_without = set(dataset.uncaptioned)
    uncaptioned = len(dataset.uncaptioned)
    with replacing(out) as beside, ExitStack() as files:
        beside.mkdir(parents=True)
        opened = {name: files.enter_context(open(beside / f"{name}.{SUFFIXES[column.dtype]}", "wb")) for name, column in columns.items()}
        writer = _Writer(opened, files.enter_context(open(beside / "rows.jsonl", "wb")))
        for number, row in enumerate(dataset.rows(), 1):
            if progress is not None:
                progress("packing", number, len(splits))
            if form.captioned and not row.captions:
                uncaptioned += row.file_name not in known_without
                continue
            try:
                writer.add(row, form.read(row, framing))
            except UserError as error:
                skipped[row.file_name] = str(error)
        files.close()
        _refuse_broken(path, skipped, len(writer.splits), max_broken_rate, notes=dataset.notes)
        names = _split_names(path, writer.splits)
        np.save(beside / "offsets.npy", np.asarray(writer.offsets, dtype=np.int64))
        np.save(beside / "splits.npy", np.asarray([names.index(split) for split in writer.splits], dtype=np.uint8))
        for name, column in columns.items():
            if not column.single:
                np.save(beside / f"{name}-ends.npy", np.asarray(writer.ends[name], dtype=np.int64))
        facts = {
            "format": FORMAT,
            "modality": dataset.modality,
            "framing": _kept(framing),
            "layout": dataset.layout,
            "description": dataset.description,
            "count": len(writer.splits),
            "splits": {name: writer.splits.count(name) for name in names},
            "uncaptioned": uncaptioned,
            "notes": dataset.notes,
            "skipped": skipped,
            "source": source,
            "content_hash": writer.digest.hexdigest(),
        }
        # As in rows.jsonl, and the name of a file that was skipped need not be UTF-8.
        (beside / "pack.json").write_bytes(json.dumps(facts, indent=1, ensure_ascii=False).encode("utf-8", "replace"))
    return Pack(out, clip_seconds=framing.clip_seconds)


def _kept(framing: Framing) -> dict[str, Any]:
    """Return what of a framing decides the bytes of a pack."""
    return {name: value for name, value in asdict(framing).items() if name != "clip_seconds"}


def _split_names(path: Path, splits: Sequence[str]) -> list[str]:
    """Return the names of the splits, the training split first."""
    names = sorted(set(splits), key=lambda name: (name != "train", name))
    if len(names) > MOST_SPLITS:
        examples = ", ".join(f"'{name}'" for name in names[:3])
        raise UserError(
            f"{path}: {len(names)} splits ({examples}, ...), and a pack holds {MOST_SPLITS}. Give rows in 'split' no more names than that."
        )
    return names


def _refuse_broken(path: Path, skipped: Mapping[str, str], kept: int, max_rate: float, *, notes: Sequence[str] = ()) -> None:
    total = kept + len(skipped)
    if kept == 0:
        first = next(iter(skipped.values()), "no row has a caption")
        raise UserError(" ".join([f"{path}: nothing to pack ({first}).", *notes]))
    if len(skipped) > most_broken(total, max_rate):
        names = ", ".join(list(skipped)[:5]) + (", ..." if len(skipped) > 5 else "")
        raise UserError(
            f"{path}: {len(skipped)} of {total} files cannot be read (limit {most_broken(total, max_rate)}): {names}. "
            f"Mend them (tonggan data check names them all), or have them left out: {leaving_out(len(skipped), total)}."
        )


def most_broken(total: int, max_rate: float) -> int:
    """Return how many of `total` files may be broken: a share of `max_rate`, or a few where that is more; none where `max_rate` is 0."""
    return max(int(max_rate * total + 1e-9), min(FEW_BROKEN, total // 10)) if max_rate > 0 else 0


def leaving_out(broken: int, total: int) -> str:
    """Return the options with which so many broken files are left out."""
    rate = f"{math.ceil(1000 * broken / total) / 1000:g}"
    return f"data.max_broken_rate={rate} behind train, --max-broken-rate {rate} in data pack, whose pack evaluate takes as --data"


def ensure_pack(
    path: Path, *, framing: Framing = AS_PACKED, cache: Path, max_broken_rate: float = MAX_BROKEN_RATE, progress: Show | None = None
) -> Pack:
    """Return `path` opened where it is a pack; else its pack in `cache`, made unless the data set has one there already.

    Several processes may ask at once: one packs, the others wait for it.
    """
    if is_pack(path):
        return Pack(path, clip_seconds=framing.clip_seconds)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder.")
    kept = {name: value for name, value in _kept(framing).items() if name in ("size", "fit") or value != getattr(AS_PACKED, name)}
    fingerprint = hashlib.sha256(f"{path.resolve()} {' '.join(map(str, kept.values()))} {_stamp(path)} {READ_AS}".encode()).hexdigest()
    out = cache / f"{path.resolve().name}-{framing.size}-{fingerprint[:8]}"

    def kept_one() -> Pack:
        found = Pack(out, clip_seconds=framing.clip_seconds)
        _refuse_broken(path, found.facts["skipped"], len(found), max_broken_rate)  # it may have been made under another limit
        return found

    if is_pack(out):
        return kept_one()

    def wait() -> None:
        if progress is not None:
            progress("waiting for another run that packs the same data", 0, 1)

    with one_at_a_time(out.with_name(f".{out.name}.lock"), wait=wait):
        if is_pack(out):
            return kept_one()
        return pack(path, framing=framing, out=out, max_broken_rate=max_broken_rate, source=fingerprint, progress=progress)


def _stamp(path: Path) -> str:
    """Return what changes when any file of a data set does: a hash of all names, sizes and modification times."""
    digest = hashlib.sha256()
    for file in _files_below(path) if path.is_dir() else _files_named_by(path):
        digest.update(os.fsencode(file))
        with suppress(OSError):  # a link that leads nowhere, such as an editor's lock: its name is all there is
            facts = os.stat(file)
            digest.update(f" {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files_below(folder: Path) -> Iterator[str]:
    """Yield all files below a folder, those in linked folders, too, each real folder once."""
    seen = set[str]()
    for parent, inner, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            inner.clear()
            continue
        seen.add(real)
        inner.sort()
        yield from (os.path.join(parent, name) for name in sorted(files))


def _files_named_by(table: Path) -> Iterator[str]:
    """Yield a table, or another file that is a data set, and what its rows name."""
    rows = list(recognise(table).rows())
    named = {row.source.path for row in rows} | {row.sound for row in rows if row.sound is not None}
    yield from map(str, (table, *sorted(named - {table})))
