"""Clips: a folder of videos with sound, or with sound files of the same names; or a folder of sounds alone. A .txt beside one is its caption."""

from collections.abc import Iterator
from pathlib import Path

from tonggan.data.layouts.columns import captions_of
from tonggan.data.layouts.splits import split_of_folder
from tonggan.data.layouts.tables import WHAT
from tonggan.data.records import Dataset, FileSource, Row, modality_of, sound_beside, texts_by_stem
from tonggan.files import read_text


def recognise_clips(path: Path) -> Dataset | None:
    """Recognise a folder (or folders of splits, or of any names) with videos, else with sounds."""
    if not path.is_dir():
        return None
    every = [file for pattern in ("*", "*/*") for file in path.glob(pattern)]
    files = sorted(file for file in every if modality_of(file.name) in ("video", "audio"))
    modality = "video" if any(modality_of(file.name) == "video" for file in files) else "audio"
    chosen = [file for file in files if modality_of(file.name) == modality]
    if not chosen:
        return None
    told = texts_by_stem(every)

    def rows() -> Iterator[Row]:
        for file in chosen:
            text = told.get(file.with_suffix(""))
            captions = captions_of({"c": read_text(text).splitlines()}, "c") if text else {}
            split = split_of_folder(file.parent, path) or "train"
            yield Row(str(file.relative_to(path)), FileSource(file), captions, split, sound=sound_beside(file) if modality == "video" else None)

    uncaptioned = tuple(str(file.relative_to(path)) for file in chosen if file.with_suffix("") not in told)
    return Dataset("clips", f"folder of {WHAT[modality]}", rows, (), uncaptioned, modality)
