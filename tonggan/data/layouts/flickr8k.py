"""Flickr8k: Flickr8k.token.txt with split lists, or Kaggle's captions.txt."""

import csv
from collections import defaultdict
from pathlib import Path

from tonggan.data.layouts.columns import captions_of
from tonggan.data.records import Dataset, FileSource, Row
from tonggan.errors import UserError
from tonggan.files import read_text

FOLDERS = ("Images", "images", "Flicker8k_Dataset", "Flickr8k_Dataset", ".")
SPLITS = {"train": "Flickr_8k.trainImages.txt", "validation": "Flickr_8k.devImages.txt", "test": "Flickr_8k.testImages.txt"}


def recognise_flickr8k(path: Path) -> Dataset | None:
    """Recognise a Flickr8k folder in its original form or Kaggle's."""
    if not path.is_dir():
        return None
    original, kaggle = path / "Flickr8k.token.txt", path / "captions.txt"
    if original.is_file():
        captions = _original(original)
    elif kaggle.is_file():
        captions = _kaggle(kaggle)
    else:
        return None
    splits = {name: split for split, file in SPLITS.items() if (path / file).is_file() for name in read_text(path / file).split()}
    folder = next((path / name for name in FOLDERS if any((path / name / file).is_file() for file in captions)), path)
    rows = [Row(name, FileSource(folder / name), captions_of({"c": texts}, "c"), splits.get(name, "train")) for name, texts in captions.items()]
    missing = tuple(row.file_name for row in rows if not row.source.path.is_file())
    uncaptioned = tuple(picture.name for picture in sorted(folder.glob("*.jpg")) if picture.name not in captions)
    return Dataset("flickr8k", f"Flickr8k ({(original if original.is_file() else kaggle).name})", lambda: iter(rows), missing, uncaptioned)


def _original(file: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(read_text(file).splitlines(), 1):
        key, separator, text = line.partition("\t")
        if line.strip() and not separator:
            raise UserError(f"{file}, line {number}: expected 'picture.jpg#0<TAB>caption'.")
        if separator:
            captions[key.partition("#")[0]].append(text)
    return _checked(captions, file)


def _kaggle(file: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = defaultdict(list)
    for number, row in enumerate(csv.reader(read_text(file).splitlines()), 1):
        if number > 1 and len(row) >= 2:
            captions[row[0]].append(",".join(row[1:]))
    return _checked(captions, file)


def _checked(captions: dict[str, list[str]], file: Path) -> dict[str, list[str]]:
    if not captions:
        raise UserError(f"{file}: the file is empty. It should hold a picture and a caption a line.")
    return captions
