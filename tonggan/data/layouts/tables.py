"""Tables: a folder of pictures, clips or sounds with metadata.jsonl, .csv or .parquet (Hugging Face), or any CSV/TSV/JSONL of path and caption.

A parquet table may hold the pictures themselves, as Hugging Face's do (`image: {bytes, path}`), in shards named `train-00000-of-00002.parquet`.
Tables of clips may name them without ending (the `id` of MMAudio's and av-benchmark's), have a `label` for a caption, or neither. VGGSound's CSV has no
head and names YouTube's number and second: clips are looked for as `NUMBER_000030.mp4`, in any folder beside or below the table.
"""

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from tonggan.data.layouts.columns import (
    CAPTION_COLUMNS,
    FILE_COLUMNS,
    LABEL_COLUMN,
    SPLIT_COLUMNS,
    captions_of,
    find_column,
    is_by_language,
    joined,
    language_of,
)
from tonggan.data.layouts.splits import split_called, split_named, split_of_file
from tonggan.data.records import ENDINGS, Dataset, FileSource, Row, modality_of, sound_beside
from tonggan.errors import UserError

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
WHAT = {"image": "pictures", "video": "clips", "audio": "sounds"}
VGGSOUND = ("YouTube's number", "start in seconds", "label", "split")
"""Columns of VGGSound's CSV, which has no head."""
TRIED = 10
"""Files that are looked for elsewhere, where none is where a table says."""
SHARD = re.compile(r"[\w.-]+-\d{5}-of-\d{5}")
"""The beginning of a shard's name, its split in it."""


@dataclass(frozen=True)
class CellSource(FileSource):
    """A picture within a parquet table: read when it is wanted, a row group at once, since rows are read in order."""

    group: int = 0
    place: int = 0
    """Number of the row within its group."""
    column: str = ""
    name: str = ""
    """What the table calls it; empty where it has no name."""

    def read(self) -> bytes:
        """Return the bytes; raises `UserError` for an empty cell."""
        cell = _column_of_group(self.path, self.group, self.column)[self.place].as_py()
        content = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if not content:
            raise UserError(f"{self.path}: row {self.place + 1} of row group {self.group + 1} has nothing in '{self.column}'.")
        return bytes(content)


@lru_cache(maxsize=1)
def _column_of_group(path: Path, group: int, column: str) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path).read_row_group(group, columns=[column]).column(column)


def recognise_table(path: Path) -> Dataset | None:
    """Recognise a metadata table in a folder (or one a split folder), or a table given as a file."""
    tables = tables_of(path)
    if not tables:
        return None
    read = [row for table in tables for row in _rows(table, split_of_file(table, path))]
    rows = _together(read)
    missing = tuple(row.file_name for row in rows if not row.source.path.is_file())
    modality = next((found for row in rows if (found := modality_of(row.source.path.name))), "image")
    uncaptioned = tuple(row.file_name for row in rows if not row.captions)
    uncaptioned += _unnamed(path, rows, ENDINGS[modality]) if path.is_dir() else ()
    names = ", ".join(str(table.relative_to(path) if path.is_dir() else table.name) for table in tables)
    several = f"; {len(read):,} rows of {len(rows):,} {WHAT[modality]}, taken together" if len(rows) < len(read) else ""
    described = f"table of {WHAT[modality]} and captions ({names}{several})"
    notes = _where_they_are(tables[0], [row.source.path for row in rows]) if len(missing) == len(rows) else ()
    return Dataset("table", described, lambda: iter(rows), missing, uncaptioned, modality, (*notes, *_unread(path, tables)))


def tables_of(path: Path) -> list[Path]:
    """Return the tables that a folder's captions are read from, or the one that a file is; none where there is none."""
    if path.is_file():
        return [path] if path.suffix in SUFFIXES else []
    tables = _metadata_in(path) or [table for folder in sorted(path.iterdir()) if folder.is_dir() for table in _metadata_in(folder)]
    return tables or _shards_in(path) or _shards_in(path / "data") or _tables_in(path)


def has_captions(table: Path) -> bool:
    """Return whether the first row of a table has a caption."""
    try:
        return any(row.captions for row in islice(_rows(table, ""), 1))
    except UserError:
        return False


def _where_they_are(table: Path, missing: Sequence[Path]) -> tuple[str, ...]:
    """Say in which folder in or beside a table's own its files are, none of which is where the table says; nothing where they are in none."""
    folder = table.parent
    around = [folder, *sorted(folder.glob("*/")), folder.absolute().parent, *sorted(folder.absolute().parent.glob("*/"))]
    for name in [path.name for path in missing[:TRIED]]:
        for place in around:
            if (place / name).is_file():
                count, rightly = sum((place / path.name).is_file() for path in missing), Path(os.path.relpath(place / name, folder))
                return (f"{table}: no file is where it says, but {count:,} of {len(missing):,} are in {place}: name them as {rightly.as_posix()}.",)
    return ()


def _together(rows: Iterable[Row]) -> list[Row]:
    """Make one row of those that name the same file in the same split: the captions of all, the other columns of the first.

    Apart, one could be held out while another is trained on, and a memory could recall a picture to itself.
    """
    found: dict[tuple[FileSource, str], Row] = {}
    for row in rows:
        first = found.setdefault((row.source, row.split), row)
        if first is not row:
            found[row.source, row.split] = replace(first, captions=joined(first.captions, row.captions))
    return list(found.values())


def _metadata_in(folder: Path) -> list[Path]:
    return [folder / name for name in METADATA if (folder / name).is_file()][:1]


def _shards_in(folder: Path) -> list[Path]:
    return sorted(table for table in folder.glob("*.parquet") if SHARD.match(table.name))


def _every_table(folder: Path) -> list[Path]:
    return [table for table in sorted(folder.iterdir()) if table.suffix in SUFFIXES and table.is_file()]


def _tables_in(folder: Path) -> list[Path]:
    """Return the tables of a folder that are named after splits (train.csv, test.csv); without any such, the first table there is.

    Where none of them is to train on, the first of the others that has captions is read beside them (captions.csv, captions_test.csv).
    """
    tables = _every_table(folder)
    named = {table: split for table in tables if (split := split_named(table.stem))}
    if not named:
        return tables[:1]
    others = (table for table in tables if table not in named and has_captions(table))
    return list(named) if "train" in named.values() else sorted([*named, *islice(others, 1)])


def _unread(path: Path, tables: Sequence[Path]) -> tuple[str, ...]:
    """Say in a sentence which tables of a folder are not read beside `tables`; nothing where all are, and where metadata says what is to be read."""
    if not path.is_dir() or tables[0].parent != path or tables[0].name in METADATA:
        return ()
    left = ", ".join(table.name for table in _every_table(path) if table not in tables)
    return (f"{path}: tables left aside: {left}. Of several, those named after splits (train.csv, test.csv) are read.",) if left else ()


def _unnamed(folder: Path, rows: Iterable[Row], endings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files with such `endings` below `folder` that no row names."""
    named = {row.source.path.absolute() for row in rows}  # a table may give whole paths where the folder was given as a relative one
    pictures = (picture for picture in sorted(folder.rglob("*")) if picture.suffix.lower() in endings)
    return tuple(str(picture.relative_to(folder)) for picture in pictures if picture.absolute() not in named)


def _rows(table: Path, split_of_table: str) -> Iterator[Row]:
    file_column = caption_column = None
    clips = Clips(table.parent)
    for number, columns in enumerate(read_table(table), 1):
        if file_column is None:
            file_column = find_column(list(columns), FILE_COLUMNS, what="picture's file", where=str(table))
            by_language = any(is_by_language(value) or language_of(name) for name, value in columns.items())
            caption_column = next((name for name in CAPTION_COLUMNS if name in columns), None)
            cell = columns.get(file_column)
            source = clips.source(cell if isinstance(cell, (str, CellSource)) else "")
            if caption_column is None and isinstance(columns.get(LABEL_COLUMN), str):
                caption_column = LABEL_COLUMN
            if caption_column is None and not by_language and modality_of(source.path.name) in ("image", None):
                find_column(list(columns), CAPTION_COLUMNS, what="caption", where=str(table))
        # Rows of JSON lines need not have what the first one has.
        split_column = next((name for name in SPLIT_COLUMNS if name in columns), None)
        if caption_column not in columns:
            caption_column = next((name for name in CAPTION_COLUMNS if name in columns), caption_column)
        if file_column not in columns:
            file_column = next((name for name in FILE_COLUMNS if name in columns), file_column)
        cell = columns.get(file_column)
        if isinstance(cell, (Mapping, list, bytes)):
            raise UserError(
                f"{table}, row {number}: '{file_column}' should hold a file's name, and holds {type(cell).__name__}. Write the name there."
            )
        name = str(cell or f"row {number} without {file_column}")
        if isinstance(cell, CellSource):
            name = cell.name or f"{table.stem}/{number:06d}"
        source = clips.source(cell or name)
        sound = sound_beside(source.path) if modality_of(source.path.name) == "video" else None
        named = (file_column, caption_column, split_column)
        tags = {key: value for key, value in columns.items() if key not in named and not isinstance(value, CellSource)}
        split = str(columns.get(split_column) or split_of_table) if split_column else split_of_table
        yield Row(name, source, captions_of(columns, caption_column), split_called(split) or split, tags, sound)


class Clips:
    """The clips below a folder, looked for once, and only where a table's names are not those of files beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._below: dict[str, Path] | None = None

    def source(self, cell: Any) -> FileSource:
        """Return where the bytes of a table's cell are: in the cell itself, or in the file that it names."""
        return cell if isinstance(cell, CellSource) else FileSource(self.find(str(cell)))

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
    if path.suffix.lower() not in READERS:
        raise UserError(f"{path}: not a kind of table that is known. Known: {', '.join(READERS)}.")
    count = 0
    try:
        for count, row in enumerate(READERS[path.suffix.lower()](path), 1):  # noqa: B007
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
        separator = next((each for each in "\t,;" if each in first), ",")
        cells = next(csv.reader([first], delimiter=separator), [])
        if len(cells) == len(VGGSOUND) and cells[1].strip().isdigit() and split_called(cells[3]):
            yield from _read_vggsound(path, file, separator)
            return
        rows = csv.DictReader(file, delimiter=separator)
        for row in rows:
            if None in row:
                count, head = len(cells) + len(row[None]), len(cells)
                raise UserError(f"{path}, line {rows.line_num}: {count} cells, and the head has {head}. Put texts that hold '{separator}' in quotes.")
            yield row


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
        file = pyarrow.parquet.ParquetFile(path)
        within = {field.name: field.type for field in file.schema_arrow if _holds_bytes(field.type)}
        wanted = [name for name in file.schema_arrow.names if name not in within]
        wanted += [f"{name}.path" for name, kind in within.items() if pyarrow.types.is_struct(kind) and kind.get_field_index("path") >= 0]
        for group in range(file.num_row_groups):
            rows = (row for batch in file.iter_batches(row_groups=[group], columns=wanted) for row in batch.to_pylist())
            for place, row in enumerate(rows):
                names = {name: str((row.get(name) or {}).get("path") or "") for name in within}
                yield row | {name: CellSource(path, group=group, place=place, column=name, name=names[name]) for name in within}
    except pyarrow.lib.ArrowException as error:
        raise UserError(f"{path}: not a parquet file that can be read ({error}).") from error


def _holds_bytes(kind: Any) -> bool:
    """Return whether a column holds files themselves: bytes, or Hugging Face's bytes and path."""
    import pyarrow

    bare = pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)
    return bare or (pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


READERS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_separated,
    ".tsv": _read_separated,
    ".parquet": _read_parquet,
}
