"""COCO captions: annotations/captions_*.json and an image folder of the same suffix, as torchvision's `CocoCaptions` takes them."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tonggan.data.layouts.columns import captions_of
from tonggan.data.records import Dataset, FileSource, Row
from tonggan.errors import UserError
from tonggan.files import read_text


def recognise_coco(path: Path) -> Dataset | None:
    """Recognise a COCO folder, or one captions_*.json.

    Of several caption files those are left out, and named, of which no picture is there: COCO's archive of captions brings those of pictures that need not
    have been fetched.
    """
    if path.is_file():
        files = [path] if path.name.startswith("captions_") and path.suffix == ".json" else []
    else:
        files = sorted(path.glob("annotations/captions_*.json")) or sorted(path.glob("captions_*.json"))
    if not files:
        return None
    rows_of = {file: list(_rows(file)) for file in files}
    files = [file for file, rows in rows_of.items() if any(row.source.path.is_file() for row in rows)] or files
    left_out = [file.name for file in rows_of if file not in files]
    rows = [row for file in files for row in rows_of[file]]
    missing = tuple(row.file_name for row in rows if row.captions and not row.source.path.is_file())
    missing += tuple(name for file in files for name in _unlisted(file))
    listed = {row.source.path for row in rows}
    unlisted = [picture for folder in {_folder(file) for file in files} for picture in sorted(folder.glob("*.jpg")) if picture not in listed]
    uncaptioned = (*(row.file_name for row in rows if not row.captions), *(picture.name for picture in unlisted))
    usable = [row for row in rows if row.captions]
    names = ", ".join(file.name for file in files) + (f"; left out, without pictures: {', '.join(left_out)}" if left_out else "")
    return Dataset("coco", f"COCO captions ({names})", lambda: iter(usable), missing, uncaptioned)


def _folder(file: Path) -> Path:
    """Return the image folder of captions_train2017.json: train2017 beside annotations/, else beside the file."""
    name = file.stem.removeprefix("captions_")
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    return next((folder for folder in (root / name, root / "images" / name, root / "images") if folder.is_dir()), root)


def _rows(file: Path) -> Iterator[Row]:
    whole = _read(file)
    captions: dict[Any, list[str]] = defaultdict(list)
    _require(file, whole["annotations"], "annotation", ("image_id", "caption"))
    _require(file, whole["images"], "image", ("id", "file_name"))
    for annotation in whole["annotations"]:
        captions[annotation["image_id"]].append(annotation["caption"])
    name = file.stem.removeprefix("captions_").rstrip("0123456789")
    split = "validation" if name == "val" else name
    for image in whole["images"]:
        tags = {key: value for key, value in image.items() if key in ("id", "license")}
        yield Row(image["file_name"], FileSource(_folder(file) / image["file_name"]), captions_of({"c": captions[image["id"]]}, "c"), split, tags)


def _unlisted(file: Path) -> list[str]:
    """Name the pictures that have captions but no entry among the images."""
    whole = _read(file)
    listed = {image["id"] for image in whole["images"]}
    return [
        f"image_id {number} of {file.name}" for number in dict.fromkeys(each["image_id"] for each in whole["annotations"]) if number not in listed
    ]


def _require(file: Path, entries: list[Any], what: str, keys: tuple[str, ...]) -> None:
    for number, entry in enumerate(entries, 1):
        absent = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if absent:
            raise UserError(f"{file}: {what} number {number} has no '{absent[0]}'. Take COCO's own caption file, or mend the entry.")


def _read(file: Path) -> dict[str, Any]:
    text = read_text(file)
    if not text.strip():
        raise UserError(f"{file}: the file is empty. It should hold COCO's images and annotations.")
    try:
        whole = json.loads(text)
        whole["images"], whole["annotations"]
        return whole
    except ValueError as error:
        raise UserError(f"{file}: JSON that is cut off or broken ({error}). Copy the file again.") from error
    except (KeyError, TypeError) as error:
        raise UserError(f"{file}: not COCO captions: 'images' and 'annotations' are needed.") from error
