"""What else is in a folder: captions of another layout than the one that was recognised, which would be lost without a word."""

from pathlib import Path

from tonggan.data.layouts.tables import METADATA, has_captions, tables_of
from tonggan.data.records import Dataset, modality_of, texts_by_stem
from tonggan.progress import counted


def captions_in(folder: Path, *, taken: str = "", besides: Path | None = None) -> dict[str, str]:
    """Return layout -> what there is of its captions in a folder, where there are any; the layout `taken` and a table `besides` do not count."""
    named = {
        "coco": [*folder.glob("annotations/captions_*.json"), *folder.glob("captions_*.json")],
        "flickr8k": [folder / name for name in ("Flickr8k.token.txt", "captions.txt") if (folder / name).is_file()],
        "table": [table for table in tables_of(folder) if table != besides and has_captions(table)] if taken != "table" else [],
    }
    found = {layout: ", ".join(str(file.relative_to(folder)) for file in files) for layout, files in named.items()}
    pictures, clips, shards = _texts_beside(folder, "image"), _texts_beside(folder, "video", "audio"), len(list(folder.glob("*.tar")))
    found["webdataset"] = counted(shards, "shards (*.tar)") if shards else ""
    found["sidecar"] = counted(pictures, "captions in .txt files beside pictures") if pictures else ""
    found["clips"] = counted(clips, "captions in .txt files beside clips or sounds") if clips else ""
    return {layout: said for layout, said in found.items() if said and layout != taken}


def _texts_beside(folder: Path, *modalities: str) -> int:
    """Return how many files of some modalities have a text of their own name beside them."""
    files = list(folder.rglob("*"))
    told = texts_by_stem(files)
    return sum(file.with_suffix("") in told and modality_of(file.name) in modalities for file in files)


def left_aside(path: Path, taken: Dataset) -> tuple[str, ...]:
    """Say in a sentence as what a folder was taken, and what of other layouts was left aside; nothing where there is no other, and of a file."""
    if not path.is_dir():
        return ()
    others = captions_in(path, taken=taken.layout)
    if taken.layout == "table" and (more := [name for name in METADATA if (path / name).is_file()][1:]):
        others["table"] = ", ".join(more)
    clips = sum(modality_of(file.name) in ("video", "audio") for file in path.glob("*"))
    if taken.modality == "image" and clips:
        others["clips"] = counted(clips, "files of clips or sounds")
    return (f"{path} is taken as {taken.description}; left aside: {', '.join(others.values())}.",) if others else ()
