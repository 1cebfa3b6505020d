"""Layouts of data sets, recognised without being named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tonggan.data.layouts.aside import left_aside
from tonggan.data.layouts.clips import recognise_clips
from tonggan.data.layouts.coco import recognise_coco
from tonggan.data.layouts.flickr8k import recognise_flickr8k
from tonggan.data.layouts.sidecar import recognise_sidecar
from tonggan.data.layouts.tables import recognise_table
from tonggan.data.layouts.webdataset import recognise_webdataset
from tonggan.data.records import Dataset
from tonggan.errors import UserError

LAYOUTS: dict[str, Callable[[Path], Dataset | None]] = {
    "coco": recognise_coco,
    "flickr8k": recognise_flickr8k,
    "table": recognise_table,
    "webdataset": recognise_webdataset,
    "sidecar": recognise_sidecar,
    "clips": recognise_clips,
}
"""Name -> what recognises it, in the order in which they are tried."""

LOOKED_FOR = (
    "annotations/captions_*.json (COCO), captions.txt or Flickr8k.token.txt (Flickr8k), metadata.jsonl|csv|parquet or another table, "
    "*.tar (WebDataset), pictures with a .txt beside each, clips with sound (or a sound file of the same name), sounds"
)


def recognise(path: Path) -> Dataset:
    """Return the data set at `path`; raises `UserError` where there is none, saying what was looked for."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder.")
    for layout in LAYOUTS.values():
        found = layout(path)
        if found is not None:
            return replace(found, notes=(*found.notes, *left_aside(path, found)))
    raise UserError(f"{path}: no data set was recognised. Looked for: {LOOKED_FOR}.")
