"""Tables: a folder of pictures, clips or sounds with metadata.jsonl, .csv or .parquet (Hugging Face), or any CSV/TSV/JSONL of path and caption.

Tables of clips may name them without ending (the `id` of MMAudio's and av-benchmark's), have a `label` for a caption, or neither. VGGSound's CSV has no
head and names YouTube's number and second: clips are looked for as `NUMBER_000030.mp4`, in any folder beside or below the table.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tonggan.data.layouts.columns import CAPTION_COLUMNS, FILE_COLUMNS, LABEL_COLUMN, SPLIT_COLUMNS, captions_of, find_column, is_by_language
from tonggan.data.records import ENDINGS, Dataset, FileSource, Row, modality_of, sound_beside
from tonggan.errors import UserError

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
WHAT = {"image": "pictures", "video": "clips", "audio": "sounds"}
VGGSOUND = ("YouTube's number", "start in seconds", "label", "split")
"""Columns of VGGSound's CSV, which has no head."""
SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "val": "validation", "validation": "validation", "dev": "validation"}


def recognise_table(path: Path) -> Dataset | None:
    """Recognise a metadata table in a folder (or one a split folder), or a table given as a file."""
    if path.is_file():
        tables = [path] if path.suffix in SUFFIXES else []
    else:
        tables = _metadata_in(path) or [table for folder in sorted(path.iterdir()) if folder.is_dir() for table in _metadata_in(folder)]
        tables = tables or _tables_in(path)
    if not tables:
        return None
    rows = [row for table in tables for row in _rows(table)]
    missing = tuple(row.file_name for row in rows if not row.source.path.is_file())
    modality = next((found for row in rows if (found := modality_of(row.source.path.name))), "image")
    uncaptioned = tuple(row.file_name for row in rows if not row.captions)
    uncaptioned += _unnamed(path, rows, ENDINGS[modality]) if path.is_dir() else ()
    names = ", ".join(str(table.relative_to(path) if path.is_dir() else table.name) for table in tables)
    described = f"table of {WHAT[modality]} and captions ({names})"
    return Dataset("table", described, lambda: iter(rows), missing, uncaptioned, modality)


def _metadata_in(folder: Path) -> list[Path]:
    return [folder / name for name in METADATA if (folder / name).is_file()][:1]


def _tables_in(folder: Path) -> list[Path]:
    """Return the tables of a folder that are named after splits (train.csv, test.csv); without any such, the first table there is."""
    tables = [table for table in sorted(folder.iterdir()) if table.suffix in SUFFIXES and table.is_file()]
    return [table for table in tables if table.stem in SPLIT_NAMES] or tables[:1]


def _unnamed(folder: Path, rows: Iterable[Row], endings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files with such `endings` below `folder` that no row names."""
    named = {row.source.path for row in rows}
    pictures = (picture for picture in sorted(folder.rglob("*")) if picture.suffix.lower() in endings)
    return tuple(str(picture.relative_to(folder)) for picture in pictures if picture not in named)


def _rows(table: Path) -> Iterator[Row]:
    split_of_folder = SPLIT_NAMES.get(table.stem) or SPLIT_NAMES.get(table.parent.name, "train")
    file_column = caption_column = split_column = None
    clips = Clips(table.parent)
    for number, columns in enumerate(read_table(table), 1):
        if file_column is None:
            file_column = find_column(list(columns), FILE_COLUMNS, what="picture's file", where=str(table))
            split_column = next((name for name in SPLIT_COLUMNS if name in columns), None)
            by_language = any(is_by_language(value) for value in columns.values())
            caption_column = next((name for name in CAPTION_COLUMNS if name in columns), None)
            source = clips.find(str(columns.get(file_column)))
            if caption_column is None and isinstance(columns.get(LABEL_COLUMN), str):
                caption_column = LABEL_COLUMN
            if caption_column is None and not by_language and modality_of(source.name) in ("image", None):
                find_column(list(columns), CAPTION_COLUMNS, what="caption", where=str(table))
        name = str(columns.get(file_column) or f"row {number} without {file_column}")
        source = clips.find(name)
        sound = sound_beside(source) if modality_of(source.name) == "video" else None
        tags = {key: value for key, value in columns.items() if key not in (file_column, caption_column, split_column)}
        split = str(columns.get(split_column) or split_of_folder) if split_column else split_of_folder
        yield Row(name, FileSource(source), captions_of(columns, caption_column), split, tags, sound)


class Clips:
    """The clips below a folder, looked for once, and only where a table's names are not those of files beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._below: dict[str, Path] | None = None

    def find(self, name: str) -> Path:
        """Return the file of a name, which for clips may lack its ending, its folder or both."""
        path = self.folder / name
        if path.is_file() or modality_of(name) not in ("video", None):
            return path
        if self._below is None:
            found = (each for each in sorted(self.folder.rglob("*")) if modality_of(each.name) == "video")
            self._below = {}
            for each in found:
                self._below.setdefault(each.name, each)
                self._below.setdefault(each.stem, each)
        return self._below.get(path.name, path)


def read_table(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table; raises `UserError` that names file and line where it is empty or broken."""
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty. It should hold one row a picture.")
    if path.suffix not in READERS:
        raise UserError(f"{path}: not a kind of table that is known. Known: {', '.join(READERS)}.")
    count = 0
    try:
        for count, row in enumerate(READERS[path.suffix](path), 1):  # noqa: B007
            yield row
        if not count:
            raise UserError(f"{path}: there is no row in it. It should hold one row a picture.")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except csv.Error as error:
        raise UserError(f"{path}: not a table that can be read ({error}).") from error


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise UserError(f"{path}, line {number}: JSON that is cut off or broken ({error}). Mend or remove the line.") from error
                if not isinstance(row, dict):
                    raise UserError(f"{path}, line {number}: not a JSON object.")
                yield row


def _read_separated(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        first = next((line for line in file if line.strip()), "")
        file.seek(0)
        separator = "\t" if "\t" in first else ","
        cells = next(csv.reader([first], delimiter=separator), [])
        if len(cells) == len(VGGSOUND) and cells[1].strip().isdigit() and cells[3].strip() in SPLIT_NAMES:
            yield from _read_vggsound(path, file, separator)
            return
        for row in csv.DictReader(file, delimiter=separator):
            yield {key: value for key, value in row.items() if key is not None}


def _read_vggsound(path: Path, file: TextIO, separator: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of VGGSound's CSV, blank lines left out; raises `UserError` for a line that is none of its."""
    lines = csv.reader(file, delimiter=separator)
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(VGGSOUND) or not cells[1].strip().isdecimal():
            raise UserError(f"{path}, line {lines.line_num}: not {', '.join(VGGSOUND)}, as VGGSound's lines are. Mend or remove the line.")
        number, second, label, split = cells
        yield {"id": f"{number}_{int(second):06d}", "label": label, "split": split.strip()}


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"{path}: reading parquet needs pyarrow: pip install pyarrow (the extra 'parquet')") from error
    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except pyarrow.lib.ArrowException as error:
        raise UserError(f"{path}: not a parquet file that can be read ({error}).") from error


READERS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_separated,
    ".tsv": _read_separated,
    ".parquet": _read_parquet,
}
