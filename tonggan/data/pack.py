"""Packs: pictures as memory-mapped uint8, captions as JSON lines with an offset table, so that training never decodes and memory never grows."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from tonggan.data.layouts import recognise
from tonggan.data.records import Row
from tonggan.errors import UserError, nearest
from tonggan.files import replacing
from tonggan.modalities.image import Fit, open_picture, square, to_array
from tonggan.progress import Show

FORMAT = 1


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
        pictures: memory-mapped uint8 (rows, 3, size, size).
        facts: what pack.json says: layout, counts, skipped pictures, content hash.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts = _facts(path)
        self.size: int = self.facts["size"]
        shape = (self.facts["count"], 3, self.size, self.size)
        try:
            # Plain arrays over the maps: every slice of a memmap object costs a microsecond more.
            self.pictures = np.asarray(np.memmap(path / "pictures.u8", dtype=np.uint8, mode="r", shape=shape))
            self._lines = np.asarray(np.memmap(path / "rows.jsonl", dtype=np.uint8, mode="r"))
            self._offsets = np.asarray(np.load(path / "offsets.npy", mmap_mode="r"))
            self._splits = np.load(path / "splits.npy", mmap_mode="r")
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: the pack is damaged ({error}). Remove it and pack again.") from error

    @classmethod
    def open(cls, path: Path) -> "Pack":
        """Open a pack; raises `UserError` where it is none, of another format, or damaged."""
        return cls(path)

    def __len__(self) -> int:
        return int(self.facts["count"])

    @property
    def content_hash(self) -> str:
        """SHA-256 of pictures and rows."""
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


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads((path / "pack.json").read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise UserError(f"{path}: a pack of format {facts['format']}, this version reads {FORMAT}. Pack again.")
        return facts
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not a pack (pack.json is missing or broken). Make one: tonggan data pack PATH --out DIR") from error


def is_pack(path: Path) -> bool:
    """Return whether `path` is a folder with pack.json."""
    return (path / "pack.json").is_file()


class _Writer:
    """Appends rows to the files of a pack that is being made."""

    def __init__(self, pictures: IO[bytes], lines: IO[bytes]) -> None:
        self.pictures, self.lines = pictures, lines
        self.offsets, self.splits = [0], list[str]()
        self.digest = hashlib.sha256()

    def add(self, row: Row, picture: np.ndarray) -> None:
        whole = {"file_name": row.file_name, "captions": row.captions, "split": row.split, "tags": row.tags}
        line = (json.dumps(whole, ensure_ascii=False, default=str) + "\n").encode()
        self.pictures.write(picture.tobytes())
        self.lines.write(line)
        self.digest.update(picture.tobytes() + line)
        self.offsets.append(self.offsets[-1] + len(line))
        self.splits.append(row.split)


def pack(
    path: Path, *, size: int = 64, out: Path, fit: Fit = "crop", max_broken_rate: float = 0.01, source: str = "", progress: Show | None = None
) -> Pack:
    """Pack the data set at `path` into the new folder `out`.

    Pictures that cannot be read are skipped, named and counted; above `max_broken_rate` the pack is refused. Rows without a caption are left out and
    counted. Raises `UserError` also where `out` exists.
    """
    if out.exists():
        raise UserError(f"{out} exists already. Choose another folder, or remove it.")
    dataset = recognise(path)
    total = sum(1 for _ in dataset.rows()) if progress is not None else 0
    skipped: dict[str, str] = {}
    uncaptioned = 0
    with replacing(out) as beside:
        beside.mkdir(parents=True)
        with open(beside / "pictures.u8", "wb") as pictures, open(beside / "rows.jsonl", "wb") as lines:
            writer = _Writer(pictures, lines)
            for number, row in enumerate(dataset.rows(), 1):
                if progress is not None:
                    progress("packing", number, total)
                if not row.captions:
                    uncaptioned += 1
                    continue
                try:
                    writer.add(row, to_array(square(open_picture(row.image.read(), name=row.file_name), size, fit=fit)))
                except UserError as error:
                    skipped[row.file_name] = str(error)
        _refuse_broken(path, skipped, len(writer.splits), max_broken_rate)
        names = sorted(set(writer.splits), key=lambda name: (name != "train", name))
        np.save(beside / "offsets.npy", np.asarray(writer.offsets, dtype=np.int64))
        np.save(beside / "splits.npy", np.asarray([names.index(split) for split in writer.splits], dtype=np.uint8))
        facts = {
            "format": FORMAT,
            "size": size,
            "fit": fit,
            "layout": dataset.layout,
            "description": dataset.description,
            "count": len(writer.splits),
            "splits": {name: writer.splits.count(name) for name in names},
            "uncaptioned": max(uncaptioned, len(dataset.uncaptioned)),
            "skipped": skipped,
            "source": source,
            "content_hash": writer.digest.hexdigest(),
        }
        (beside / "pack.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
    return Pack(out)


def _refuse_broken(path: Path, skipped: Mapping[str, str], kept: int, max_rate: float) -> None:
    total = kept + len(skipped)
    if kept == 0:
        first = next(iter(skipped.values()), "no row has a caption")
        raise UserError(f"{path}: nothing to pack ({first}).")
    if len(skipped) > max_rate * total:
        names = ", ".join(list(skipped)[:5])
        raise UserError(
            f"{path}: {len(skipped)} of {total} pictures cannot be read (limit {max_rate:.1%}): {names}. Mend them (tonggan data check), or raise the limit."
        )


def ensure_pack(path: Path, *, size: int, cache: Path, fit: Fit = "crop", max_broken_rate: float = 0.01, progress: Show | None = None) -> Pack:
    """Return `path` opened where it is a pack; else its pack in `cache`, made unless the data set has one there already."""
    if is_pack(path):
        return Pack(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder.")
    fingerprint = hashlib.sha256(f"{path.resolve()} {size} {fit} {_stamp(path)}".encode()).hexdigest()
    out = cache / f"{path.resolve().name}-{size}-{fingerprint[:8]}"
    if is_pack(out):
        return Pack(out)
    return pack(path, size=size, out=out, fit=fit, max_broken_rate=max_broken_rate, source=fingerprint, progress=progress)


def _stamp(path: Path) -> str:
    """Return what changes when any file of a data set does: a hash of all names, sizes and modification times."""
    digest = hashlib.sha256()
    for folder, inner, files in os.walk(path) if path.is_dir() else [(str(path.parent), [], [path.name])]:
        inner.sort()
        for name in sorted(files):
            facts = os.stat(os.path.join(folder, name))
            digest.update(f"{folder}/{name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()
