"""Sidecar captions: 0001.png with 0001.txt beside it, in one folder or in folders of splits."""

from collections.abc import Iterator
from pathlib import Path

from tonggan.data.layouts.columns import captions_of
from tonggan.data.layouts.tables import SPLIT_NAMES
from tonggan.data.records import Dataset, FileSource, Row
from tonggan.files import read_text
from tonggan.modalities.image import ENDINGS


def recognise_sidecar(path: Path) -> Dataset | None:
    """Recognise a folder in which at least one picture has a .txt of the same stem."""
    if not path.is_dir():
        return None
    pictures = sorted(picture for pattern in ("*", "*/*") for picture in path.glob(pattern) if picture.suffix.lower() in ENDINGS)
    captioned = [picture for picture in pictures if picture.with_suffix(".txt").is_file()]
    if not captioned:
        return None
    known = {picture.with_suffix(".txt") for picture in captioned}
    alone = tuple(str(text.relative_to(path)) for pattern in ("*.txt", "*/*.txt") for text in sorted(path.glob(pattern)) if text not in known)
    uncaptioned = tuple(str(picture.relative_to(path)) for picture in pictures if picture not in set(captioned))

    def rows() -> Iterator[Row]:
        for picture in captioned:
            lines = read_text(picture.with_suffix(".txt")).splitlines()
            split = SPLIT_NAMES.get(picture.parent.name, "train")
            yield Row(str(picture.relative_to(path)), FileSource(picture), captions_of({"c": lines}, "c"), split)

    return Dataset("sidecar", "pictures with a .txt beside each", rows, alone, uncaptioned)
