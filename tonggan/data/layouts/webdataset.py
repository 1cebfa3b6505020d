"""WebDataset shards: tar files of KEY.jpg with KEY.txt or KEY.json, read in place."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tonggan.data.layouts.columns import CAPTION_COLUMNS, captions_of
from tonggan.data.layouts.splits import split_of_file
from tonggan.data.records import Dataset, FileSource, Row, tar_members
from tonggan.errors import UserError
from tonggan.modalities.image import ENDINGS
from tonggan.progress import counted


def recognise_webdataset(path: Path) -> Dataset | None:
    """Recognise one .tar, or a folder (or folders of splits) of them."""
    shards = [path] if path.suffix == ".tar" else sorted([*path.glob("*.tar"), *path.glob("*/*.tar")]) if path.is_dir() else []
    if not shards:
        return None
    splits = {shard: split_of_file(shard, path) for shard in shards}
    missing = tuple(f"{key} in {shard.name}" for shard in shards for key, parts in _samples(shard) if not _picture(parts))

    def rows() -> Iterator[Row]:
        return (row for shard, split in splits.items() for row in _rows(shard, split))

    uncaptioned = tuple(row.file_name for row in rows() if not row.captions)
    return Dataset("webdataset", f"WebDataset, {counted(len(shards), 'shards')}", rows, missing, uncaptioned)


def _rows(shard: Path, split: str) -> Iterator[Row]:
    """Yield rows as their members follow each other: the parts of a sample are neighbours in a shard."""
    for key, parts in _samples(shard):
        yield from _row(key, parts, split)


def _samples(shard: Path) -> Iterator[tuple[str, dict[str, FileSource]]]:
    """Yield the key of each sample and its parts by ending."""
    key, parts = "", dict[str, FileSource]()
    for name, source in tar_members(shard):
        stem = str(PurePosixPath(name).with_suffix(""))
        if stem != key and parts:
            yield key, parts
            parts = {}
        key = stem
        parts[PurePosixPath(name).suffix.lower()] = source
    if parts:
        yield key, parts


def _picture(parts: dict[str, FileSource]) -> str | None:
    return next((each for each in ENDINGS if each in parts), None)


def _row(key: str, parts: dict[str, FileSource], split: str) -> Iterator[Row]:
    ending = _picture(parts)
    if ending is None:
        return
    facts: dict[str, Any] = {}
    if ".json" in parts:
        try:
            facts = dict(json.loads(parts[".json"].read()))
        except (ValueError, TypeError) as error:
            raise UserError(f"{parts['.json'].path}, member {key}.json: JSON that is cut off or broken ({error}).") from error
    if ".txt" in parts:
        facts["text"] = parts[".txt"].read().decode("utf-8", "replace")
    column = next((name for name in CAPTION_COLUMNS if name in facts), None)
    tags = {name: value for name, value in facts.items() if name != column}
    yield Row(key + ending, parts[ending], captions_of(facts, column), split, tags)
