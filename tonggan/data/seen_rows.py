"""Which rows a model has learned from: a number for each beside its weights, so that such rows are neither held out nor judged unawares."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tonggan.errors import UserError
from tonggan.files import replacing

Rows = npt.NDArray[np.uint64]
"""Rows by what is in them (`Pack.digests`), in any data set."""
SEEN, HELD = "seen-rows.npy", "held-out-rows.npy"


def save_rows(folder: Path, rows: Rows | None, *, name: str = SEEN) -> None:
    """Write rows into `folder`, each once, in order; None for rows that are not known."""
    if rows is None:
        (folder / name).unlink(missing_ok=True)
        return
    with replacing(folder / name) as beside, open(beside, "wb") as file:
        np.save(file, np.unique(rows))


def load_rows(folder: Path, *, name: str = SEEN) -> Rows | None:
    """Return the rows that `save_rows` wrote, None where there are none; raises `UserError` where the file is broken."""
    if not (folder / name).is_file():
        return None
    try:
        return np.asarray(np.load(folder / name), dtype=np.uint64)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / name}: not rows that can be read ({error}). Copy the folder again.") from error


def joined(*several: Rows | None) -> Rows | None:
    """Return all of several sets of rows; None where one is not known."""
    known = [rows for rows in several if rows is not None]
    return np.unique(np.concatenate([np.empty(0, np.uint64), *known])) if len(known) == len(several) else None
