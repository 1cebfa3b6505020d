"""Sidecar captions: 0001.png with 0001.txt beside it, in one folder or in folders, of splits or other."""

from collections.abc import Iterator
from pathlib import Path

from tonggan.data.layouts.columns import captions_of
from tonggan.data.layouts.splits import split_named
from tonggan.data.records import Dataset, FileSource, Row, texts_by_stem
from tonggan.files import read_text
from tonggan.modalities.image import ENDINGS


def recognise_sidecar(path: Path) -> Dataset | None:
    """Recognise a folder in which, or in whose folders, at least one picture has a .txt of the same stem."""
    if not path.is_dir():
        return None
    files = {file for pattern in ("*/*", "**/*") for file in path.glob(pattern)}  # the second goes as deep as there is, but through no links
    pictures = sorted(file for file in files if file.suffix.lower() in ENDINGS)
    told = texts_by_stem(files)
    captioned = [picture for picture in pictures if picture.with_suffix("") in told]
    if not captioned:
        return None
    known = {picture.with_suffix("") for picture in captioned}
    alone = tuple(str(text.relative_to(path)) for stem, text in told.items() if stem not in known)
    without = set(pictures).difference(captioned)
    uncaptioned = tuple(str(picture.relative_to(path)) for picture in pictures if picture in without)

    def rows() -> Iterator[Row]:
        for picture in captioned:
            lines = read_text(told[picture.with_suffix("")]).splitlines()
            name = picture.relative_to(path)
            split = next((split for folder in reversed(name.parts[:-1]) if (split := split_named(folder))), "train")
            yield Row(str(name), FileSource(picture), captions_of({"c": lines}, "c"), split)

    return Dataset("sidecar", "pictures with a .txt beside each", rows, alone, uncaptioned)
