"""Forms: what a pack keeps of a row, by modality. A picture is one item; a clip is as many frames and samples as it lasts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tonggan.data.records import Row
from tonggan.errors import UserError
from tonggan.modalities import Framing
from tonggan.modalities.audio import open_sound
from tonggan.modalities.image import open_picture, square, to_array
from tonggan.modalities.video import open_clip, video_facts

TIMES = ("frames_per_second", "sample_rate_hz")
"""Settings of a `Framing` by which the same items last longer or shorter."""
FULL_SCALE = 32_767
"""What a sample of 1.0 is kept as."""


@dataclass(frozen=True)
class Column:
    """One array of a pack: items of one dtype and shape, one after the other; `single` where every row has exactly one.

    `tells` is whether a row is told from others by it: what is encoded lossily is not the same twice.
    """

    dtype: str
    shape: tuple[int, ...] = ()
    single: bool = False
    tells: bool = True


@dataclass(frozen=True)
class Form:
    """What is kept of a row: columns by name, and how they are read from its files: arrays (items, *shape); `captioned` where rows need a caption.

    `framed_by` are the settings of a `Framing` that it hangs on.
    """

    columns: Callable[[Framing], Mapping[str, Column]]
    read: Callable[[Row, Framing], Mapping[str, np.ndarray]]
    framed_by: tuple[str, ...]
    captioned: bool = False


def _read_picture(row: Row, framing: Framing) -> dict[str, np.ndarray]:
    return {"pictures": to_array(square(open_picture(row.source.read(), name=row.file_name), framing.size, fit=framing.fit))[None]}


def _read_clip(row: Row, framing: Framing) -> dict[str, np.ndarray]:
    frames = open_clip(row.source.path, framing).frames
    if len(frames) < 2 or not video_facts(row.source.path).moves:
        raise UserError(f"{row.file_name}: a clip of one frame.")
    return {"frames": frames} | _heard(row, framing)


def _heard(row: Row, framing: Framing) -> dict[str, np.ndarray]:
    sound = open_sound(row.sound or row.source.path, sample_rate_hz=framing.sample_rate_hz)
    return {"samples": np.round(np.clip(sound.mono(), -1, 1) * FULL_SCALE).astype(np.int16)}


FORMS: Mapping[str, Form] = {
    "image": Form(
        lambda framing: {"pictures": Column("uint8", (3, framing.size, framing.size), single=True)}, _read_picture, ("size", "fit"), captioned=True
    ),
    "video": Form(
        lambda framing: {"frames": Column("uint8", (3, framing.size, framing.size), tells=False), "samples": Column("int16")},
        _read_clip,
        ("size", "fit", *TIMES),
    ),
    "audio": Form(lambda framing: {"samples": Column("int16")}, _heard, ("sample_rate_hz",)),
}
"""Modality of a data set -> form of its packs."""
