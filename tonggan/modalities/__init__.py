"""Modalities: files <-> what encoders take and decoders give. The only code that knows file formats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Framing:
    """How what a user passes is brought to the form that a model was trained on."""

    size: int = 64
    fit: Literal["crop", "pad"] = "crop"
    frames_per_second: float = 25.0
    sample_rate_hz: int = 16_000
    clip_seconds: float = 2.56
    """Length of what a model sees and makes at once, of video and sound."""

    @property
    def frames(self) -> int:
        """Frames of a clip."""
        return round(self.clip_seconds * self.frames_per_second)

    @property
    def samples(self) -> int:
        """Samples of a clip's sound."""
        return round(self.clip_seconds * self.sample_rate_hz)


AS_PACKED = Framing()
"""The form that things have unless another is asked for."""


@dataclass(frozen=True)
class Store:
    """How values of a modality are kept in few bytes; arrays are as packs have them."""

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    to_tensor: Callable[[Any], Any]
    """A batch of arrays -> a batch as encoders take it."""


@dataclass(frozen=True)
class Modality:
    """What the rest of the house needs to know of a modality."""

    name: str
    holds: Callable[[Any], bool]
    """Whether a value that a user passes is of this modality."""
    to_inputs: Callable[[Sequence[Any], Framing], Any]
    """What a user passes -> a batch as encoders take it, framed as in training."""
    to_outputs: Callable[[Any, Framing], list[Any]]
    """What a decoder gives -> what a user gets."""
    show: Callable[[Any, Path | None, Path], Path]
    """(one value, the file that it was read or made from, path without an ending) -> the file written, which a browser can show by its ending.

    What it was made from matters where both are perceived together, as a sound and its video are.
    """
    preview: Callable[[Any, Path, Framing], None] | None = None
    """Write a batch into one file to be looked at; the path comes without an ending."""
    closeness: Callable[[Any, Any], tuple[float, str, float]] | None = None
    """(made, truth) -> (figure, its unit, the least that counts as learned by heart)."""
    store: Store | None = None
    """The form in which a memory keeps values; None where there is none."""
    open: Callable[[Path, Framing], Any] | None = None
    """Read a value from a file; None where values stand in tables themselves, as captions do."""
    misfit: Callable[[Any, Framing], str] | None = None
    """Why a value is none that a model of this framing made (its size, say), empty where it may be one; None where that cannot be told."""


def modalities() -> dict[str, Modality]:
    """Return all modalities by name (imported here, so that `import tonggan` stays light)."""
    from tonggan.modalities import audio, image, text, video

    return {"text": text.MODALITY, "image": image.MODALITY, "video": video.MODALITY, "audio": audio.MODALITY}
