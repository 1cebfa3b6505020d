"""Layouts of data sets, recognised without being named."""

from collections.abc import Callable
from pathlib import Path

from tonggan.data.layouts.tables import recognise_table
from tonggan.data.records import Dataset
from tonggan.errors import UserError

LAYOUTS: dict[str, Callable[[Path], Dataset | None]] = {
    "table": recognise_table,
}
"""Name -> what recognises it, in the order in which they are tried."""


def recognise(path: Path) -> Dataset:
    """Return the data set at `path`; raises `UserError` where there is none, saying what was looked for."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder.")
    for layout in LAYOUTS.values():
        found = layout(path)
        if found is not None:
            return found
    raise UserError(f"{path}: no data set was recognised. Looked for: {', '.join(LAYOUTS)}.")
