"""What an evaluation has made so far, a batch a file beside its results: after Ctrl-C or a power cut the same command goes on where it was."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tonggan import __version__
from tonggan.files import replacing
from tonggan.progress import Show

Outputs = Sequence[npt.NDArray[Any]]
UNFINISHED = "unfinished"
"""Folder, below that of an evaluation, that is there until it has its card."""


@dataclass(frozen=True)
class Unfinished:
    """Outputs that are kept as they are made; without a folder none is."""

    folder: Path | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict)
    """What all outputs depend on: weights, settings, data. Those of others are not taken for them."""

    def outputs(
        self, asked: Sequence[Any], make: Callable[[slice], Outputs], *, batch_size: int, what: str, progress: Show | None
    ) -> tuple[Outputs, float]:
        """Return an output for each of what is `asked`, in batches, and the wall seconds that they took; those that are kept are not made again.

        Args:
            asked: what an output is made of, as JSON can hold it: it tells the batches apart.
            make: returns the outputs of a part of them.
            batch_size: outputs that are made at once.
            what: what `progress` is told that goes on.
            progress: called with (what, done, total).

        Raises `DiskFullError` where there is no room for them.
        """
        made: list[npt.NDArray[Any]] = []
        spent = 0.0
        for start in range(0, len(asked), batch_size):
            part = slice(start, start + batch_size)
            found, seconds = self._batch(asked[part], partial(make, part))
            made += found
            spent += seconds
            if progress:
                progress(what, len(made), len(asked))
        return made, spent

    def _batch(self, asked: Sequence[Any], make: Callable[[], Outputs]) -> tuple[Outputs, float]:
        file = self._file(asked)
        if file is not None and file.is_file():
            with np.load(file) as kept:
                return [kept[f"arr_{number}"] for number in range(len(asked))], float(kept["seconds"])
        began = time.perf_counter()
        made = make()
        seconds = time.perf_counter() - began
        if file is not None:
            with replacing(file) as beside, beside.open("wb") as stream:
                np.savez(stream, *made, seconds=seconds)
        return made, seconds

    def _file(self, asked: Sequence[Any]) -> Path | None:
        if self.folder is None:
            return None
        told = json.dumps([__version__, self.made_by, asked], sort_keys=True, default=str)
        return self.folder / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.npz"


NOTHING_KEPT = Unfinished()


def unfinished(out: Path, *, weights_hash: str, content_hash: str, settings: Mapping[str, Any]) -> Unfinished:
    """Return what an evaluation into `out` has of these weights (SHA-256), of this data and by these settings."""
    return Unfinished(out / UNFINISHED, {"weights": weights_hash, "data": content_hash, "settings": dict(settings)})
