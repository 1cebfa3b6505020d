"""Rows of a data set, whatever layout they come in."""

import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tonggan.errors import UserError


@dataclass(frozen=True)
class PictureSource:
    """Where a picture's bytes are: a file, or a stretch of a tar file."""

    path: Path
    offset: int | None = None
    length: int | None = None

    def read(self) -> bytes:
        """Return the bytes; raises `UserError` where the file is missing."""
        try:
            if self.offset is None:
                return self.path.read_bytes()
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                return file.read(self.length)
        except OSError as error:
            raise UserError(f"{self.path}: no such file." if isinstance(error, FileNotFoundError) else f"{self.path}: {error.strerror}.") from error


@dataclass(frozen=True)
class Row:
    """One picture with what is said of it.

    Attributes:
        file_name: its name in the data set.
        image: where its bytes are.
        captions: language code -> captions.
        split: train, test, ...
        tags: every other column, as it was.
    """

    file_name: str
    image: PictureSource
    captions: Mapping[str, tuple[str, ...]]
    split: str = "train"
    tags: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A data set that was recognised.

    Attributes:
        layout: name of the layout.
        description: one sentence of what was recognised.
        rows: starts a new pass over the rows.
        missing_pictures: captions whose picture is not there, by file name.
        uncaptioned: pictures without a caption, by file name.
    """

    layout: str
    description: str
    rows: Callable[[], Iterator[Row]]
    missing_pictures: tuple[str, ...] = ()
    uncaptioned: tuple[str, ...] = ()


def tar_members(path: Path) -> Iterator[tuple[str, PictureSource]]:
    """Yield (name, source) of every file in a tar; raises `UserError` where the tar is broken."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile():
                    yield member.name, PictureSource(path, member.offset_data, member.size)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a tar file that can be read ({error}).") from error
