"""Rows of a data set, whatever layout they come in."""

import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tonggan.errors import UserError
from tonggan.modalities import audio, image, video


@dataclass(frozen=True)
class FileSource:
    """Where a picture's or a clip's bytes are: a file, or a stretch of a tar file."""

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
    """One picture, clip or sound with what is said of it.

    Attributes:
        file_name: its name in the data set.
        source: where its bytes are.
        captions: language code -> captions.
        split: train, test, ...
        tags: every other column, as it was.
        sound: where a clip's sound is, if not within the clip.
    """

    file_name: str
    source: FileSource
    captions: Mapping[str, tuple[str, ...]]
    split: str = "train"
    tags: Mapping[str, Any] = field(default_factory=dict)
    sound: Path | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set that was recognised.

    Attributes:
        layout: name of the layout.
        description: one sentence of what was recognised.
        rows: starts a new pass over the rows.
        missing_pictures: captions whose picture (or clip) is not there, by file name.
        uncaptioned: pictures without a caption, by file name; clips need none.
        modality: `image`, `video` (clips with sound) or `audio`.
        notes: sentences that whoever uses it should read: what of it was left aside, where files that are missing may be.
    """

    layout: str
    description: str
    rows: Callable[[], Iterator[Row]]
    missing_pictures: tuple[str, ...] = ()
    uncaptioned: tuple[str, ...] = ()
    modality: str = "image"
    notes: tuple[str, ...] = ()


ENDINGS: Mapping[str, tuple[str, ...]] = {"image": image.ENDINGS, "video": video.ENDINGS, "audio": audio.ENDINGS}
"""Modality -> file endings; an animation that is a picture, too, is taken for a picture."""


def modality_of(name: str) -> str | None:
    """Return the modality of a file by its ending, None where it is of none."""
    return next((modality for modality, endings in ENDINGS.items() if Path(name).suffix.lower() in endings), None)


def sound_beside(clip: Path) -> Path | None:
    """Return the sound file of a clip's own name: beside it, or in a folder `audio` beside its own; None where its sound is within."""
    folders = (clip.parent, clip.parent / "audio", clip.parent.parent / "audio")
    places = (folder / f"{clip.stem}{ending}" for folder in folders for ending in ENDINGS["audio"])
    return next((place for place in places if place.is_file() and place != clip), None)


def texts_by_stem(files: Iterable[Path]) -> dict[Path, Path]:
    """Return the texts among `files`, .txt before .TXT, by their path without the ending: the caption of a.png is that of a."""
    return {file.with_suffix(""): file for file in sorted(files) if file.suffix.lower() == ".txt" and file.is_file()}


def tar_members(path: Path) -> Iterator[tuple[str, FileSource]]:
    """Yield (name, source) of every file in a tar; raises `UserError` where the tar is broken."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile():
                    yield member.name, FileSource(path, member.offset_data, member.size)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a tar file that can be read ({error}).") from error
