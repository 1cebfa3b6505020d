"""Names of splits: what tables, shards, folders and cells are called that are of one."""

import re
from pathlib import Path

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
}
"""The usual names of splits -> ours."""
SEVERAL = ("test", "validation", "train")
"""Of several that a name has, the one it is taken for: nothing is trained on that may be meant for judging (`train-val`, `test-train`)."""


def split_called(name: str) -> str | None:
    """Return the split that a whole name is one of the usual names of, in whatever case; None where it is none."""
    return SPLIT_NAMES.get(name.strip().lower())


def split_named(name: str) -> str | None:
    """Return the split that a word of a name stands for: words end at - _ . and spaces, and digits at their ends do not count (`cc3m-Val2017_0001`)."""
    words = {word.rstrip("0123456789") for word in re.split(r"[-_.\s]+", name.lower())}
    found = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    return next((split for split in SEVERAL if split in found), None)


def split_of_folder(folder: Path, root: Path) -> str | None:
    """Return the split that a folder of a data set at `root` is of by its name; that of `root` has to be one as a whole: `test-pictures` may hold all of them."""
    return split_called(folder.name) if folder == root else split_named(folder.name)


def split_of_file(file: Path, data: Path) -> str:
    """Return the split of all that a table or a shard of the data set `data` holds, by its own name or its folder's; without any, it is to be trained on."""
    return split_named(file.stem) or split_of_folder(file.parent, data if data.is_dir() else data.parent) or "train"
