"""Outputs of another system in a model's place: pictures in a folder, or sentences in a table, each found by the name of its row."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from PIL import Image

from tonggan.data.layouts.columns import CAPTION_COLUMNS, FILE_COLUMNS, find_column
from tonggan.data.layouts.tables import read_table
from tonggan.data.loader import Phrasings
from tonggan.data.pack import Pack
from tonggan.errors import UserError
from tonggan.evaluation.drawing import Chosen, below, picture_paths
from tonggan.modalities.image import ENDINGS, open_picture

NAMED = 5
"""Rows that are named where theirs are missing."""
Found = TypeVar("Found", Path, str)


@dataclass(frozen=True)
class OtherPictures:
    """Pictures that another system made of the rows of an evaluation: picture i of `files` is what it "draws" from seed i."""

    folder: Path
    files: tuple[Path, ...]
    weights_hash: str
    """SHA-256 of the files."""
    phrasings: Phrasings | None

    @property
    def name(self) -> str:
        """What a card calls it."""
        return self.folder.resolve().name

    def settings(self) -> dict[str, Any]:
        """Return where the pictures lie, which is all that is known of how they were made."""
        return {"pictures": str(self.folder)}

    def generate(self, inputs: list[str], *, to: str, seeds: list[int]) -> list[Image.Image]:
        """Open one picture a caption, picture i of the evaluation being that of row i."""
        return [open_picture(self.files[seed]) for seed in seeds]


@dataclass(frozen=True)
class OtherSentences:
    """Sentences that another system said of the rows of an evaluation, in their order."""

    table: Path
    sentences: tuple[str, ...]
    weights_hash: str
    """SHA-256 of the table."""
    phrasings: Phrasings | None

    @property
    def name(self) -> str:
        """What a card calls it."""
        return self.table.stem

    def settings(self, to: str = "text") -> dict[str, Any]:
        """Return where the sentences stand, which is all that is known of how they were made."""
        return {"captions": str(self.table)}


Others = OtherPictures | OtherSentences


def other_pictures(folder: Path, pack: Pack, chosen: Chosen, *, split: str, phrasings: Phrasings | None) -> OtherPictures:
    """Return the pictures in `folder` of the rows `chosen`.

    A row's picture has the row's file name, whatever its ending; so lie pictures in an evaluation's `pictures`, too. Without folders it is found as well,
    where no other row is called so; and by the row's number in the split, 0001 the first, as `draw --captions` numbers the lines of a text file.
    Raises `UserError` for a folder without pictures, two of one name, and rows whose picture is missing.
    """
    named = {file.relative_to(folder).as_posix(): file for file in pictures_in(folder)}
    files = _matched(_by_stem(named.items(), where=str(folder)), pack, chosen, split=split, where=str(folder))
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return OtherPictures(folder, tuple(files), digest.hexdigest(), phrasings)


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder and those below it, by their names; raises `UserError` where there are none."""
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and file.is_file()) if folder.is_dir() else []
    if not found:
        raise UserError(f"{folder}: no folder with pictures. Looked for: {', '.join(ENDINGS)}.")
    return found


def other_sentences(table: Path, pack: Pack, chosen: Chosen, *, split: str, phrasings: Phrasings | None) -> OtherSentences:
    """Return the sentences that `table` (columns as `tonggan label` writes them: file_name and text) has of the rows `chosen`, found as pictures are.

    Raises `UserError` for a table that cannot be read, a file that is named twice, and rows whose sentence is missing.
    """
    if not table.is_file():
        raise UserError(f"{table}: no such file.")
    rows = list(read_table(table))
    file, text = (
        find_column(list(rows[0]), known, what=what, where=str(table)) for known, what in ((FILE_COLUMNS, "file"), (CAPTION_COLUMNS, "caption"))
    )
    said = _by_stem(((str(row.get(file) or ""), str(row.get(text) or "")) for row in rows), where=str(table))
    sentences = _matched(said, pack, chosen, split=split, where=str(table))
    return OtherSentences(table, tuple(sentences), hashlib.sha256(table.read_bytes()).hexdigest(), phrasings)


def other_warning(outputs: Others) -> str:
    """Return what a reader must know first."""
    where = outputs.folder if isinstance(outputs, OtherPictures) else outputs.table
    return (
        f"Outputs of another system, read from {where}: how they were made, and what it learned from, is not known here. Floors and copies are of the"
        " training rows of this data; what needs the system itself (other seeds, other captions, its own space) is left out."
    )


def _stem(name: str) -> str:
    return str(below(name).with_suffix(""))


def _by_stem(found: Iterable[tuple[str, Found]], *, where: str) -> dict[str, Found]:
    """Return what is found by its name without the ending; raises `UserError` where two have the same."""
    kept: dict[str, Found] = {}
    names: dict[str, str] = {}
    for name, each in found:
        if (stem := _stem(name)) in kept:
            raise UserError(f"{where}: '{names[stem]}' and '{name}' are of the same row. Keep one of them.")
        kept[stem], names[stem] = each, name
    return kept


def _matched(found: Mapping[str, Found], pack: Pack, chosen: Chosen, *, split: str, where: str) -> list[Found]:
    """Return what is found of each row, by the way of naming that finds the most; raises `UserError` that names rows that are missing."""
    ways = [_as_written(chosen), _as_in_data(chosen), _without_folders(chosen)]
    if len(found) == len(pack.indices(split)):  # of fewer or more it is not known which rows they number
        ways.append(_numbers(pack, chosen, split))
    best = max(ways, key=lambda names: sum(name in found for name in names))
    missing = [sample.file_name for sample, name in zip(chosen.samples, best, strict=True) if name not in found]
    if missing:
        told = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
        raise UserError(
            f"{where}: nothing of {len(missing):,} of the {len(chosen.samples):,} rows ({told}). Name outputs as the rows' files, whatever the ending;"
            f" or 0001 and on by the rows of the split, if all {len(pack.indices(split)):,} are there."
        )
    return [found[name] for name in best]


def _as_written(chosen: Chosen) -> list[str]:
    """Return the names that an evaluation writes: they tell rows of one picture apart."""
    return [str(path.with_suffix("")) for path in picture_paths(chosen.samples)]


def _as_in_data(chosen: Chosen) -> list[str]:
    return [_stem(sample.file_name) for sample in chosen.samples]


def _without_folders(chosen: Chosen) -> list[str]:
    """Return the names of rows without their folders; where two rows are called alike, nothing is found so."""
    names = [PurePosixPath(name).name for name in _as_in_data(chosen)]
    return names if len(set(names)) == len(names) else [""] * len(names)


def _numbers(pack: Pack, chosen: Chosen, split: str) -> list[str]:
    number = {int(row): place for place, row in enumerate(pack.indices(split), 1)}
    return [f"{number[sample.index]:04d}" for sample in chosen.samples]
