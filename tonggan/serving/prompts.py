"""The prompts of an arena: a text file with one a line, or a table; captions stand in it themselves, anything else as the name of a file."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tonggan.data.layouts.columns import CAPTION_COLUMNS, FILE_COLUMNS, find_column
from tonggan.data.layouts.tables import read_table
from tonggan.errors import UserError
from tonggan.files import read_text
from tonggan.modalities import Framing, Modality


@dataclass(frozen=True)
class Prompt:
    """What outputs are made from."""

    text: str
    """The caption, or the file's name as the table has it."""
    file: Path | None
    """None for a caption."""
    identity: str
    """Two prompts of the same content have the same."""

    def value(self, source: Modality, framing: Framing) -> Any:
        """Return what a model of this framing gets."""
        return self.text if self.file is None or source.open is None else source.open(self.file, framing)


def read_prompts(path: Path, source: Modality) -> list[Prompt]:
    """Read all prompts that are of the modality `source`; raises `UserError` that names the line for an empty one or a file that cannot be read."""
    if not path.is_file():
        raise UserError(f"{path}: no such file. It should hold a prompt a line, or be a table with a column for them.")
    found = []
    for where, text in _lines(path) if path.suffix.lower() == ".txt" else _cells(path, source):
        if not text.strip():
            raise UserError(f"{path}, {where}: the prompt is empty. Nothing was made; write one or remove the line.")
        found.append(_prompt(text.strip(), path.parent, source))
    if not found:
        raise UserError(f"{path}: the file is empty. Write a prompt a line.")
    return found


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    return ((f"line {number}", line) for number, line in enumerate(read_text(path).splitlines(), 1))


def _cells(path: Path, source: Modality) -> Iterator[tuple[str, str]]:
    column = None
    for number, row in enumerate(read_table(path), 1):
        if column is None:
            known, what = (CAPTION_COLUMNS, "prompt") if source.open is None else (FILE_COLUMNS, "prompt's file")
            column = find_column(list(row), known, what=what, where=str(path))
        yield f"row {number}", str(row.get(column) or "")


def _prompt(text: str, folder: Path, source: Modality) -> Prompt:
    if source.open is None:
        return Prompt(text, None, text)
    source.open(folder / text, Framing())  # raises for one that cannot be read, before anything is made
    return Prompt(text, folder / text, hashlib.sha256((folder / text).read_bytes()).hexdigest())
