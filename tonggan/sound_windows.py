"""A long clip in windows: which frames each sees, how its sound goes on from the one before, and finished ones on disk, so that a run that was killed goes on."""

import json
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.modalities import Framing
from tonggan.modalities.audio import Sound
from tonggan.strict import LARGEST_SEED

T = TypeVar("T")

OVERLAP = 0.25
"""Share of a window that the next one goes on from."""
FADE_SECONDS = 0.032
EDGE_SECONDS = 0.016
"""How far before its end the held part fades into the new: the last frames of a spectrogram know only half of their window."""


class GoesOn(Protocol):
    """A decoder of sounds that goes on from what a sound begins with."""

    taken_over: float
    """Share of the whole over which, at the end of that beginning, the new takes over from it."""


def window_seed(seed: int, window: int) -> int:
    """Return the seed of a window: the first has the clip's own."""
    return seed if window == 0 else ((seed + 1) * 1_000_003 + window) & LARGEST_SEED


def windows(frames: Iterator[np.ndarray], framing: Framing) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of its first frame, frames (frames, 3, size, size)) of each window; each overlaps the one before.

    The last one ends with the clip and overlaps more, for windows in training are whole, too: what goes on with a standing picture is heard as blows.
    Only a clip that is shorter than a window makes a short one.
    """
    step = framing.frames - round(framing.frames * OVERLAP)
    kept: deque[np.ndarray] = deque(maxlen=framing.frames)
    new = 0
    number = -1
    for number, frame in enumerate(frames):
        kept.append(frame)
        new += 1
        if len(kept) == framing.frames and (number + 1 == framing.frames or new == step):
            yield number + 1 - len(kept), np.stack(kept)
            new = 0
    if new:
        yield number + 1 - len(kept), np.stack(kept)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the same items; while one is worked on, a thread gets the next."""
    end = object()
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = reader.submit(next, items, end)
            yield cast(T, item)


def first_sample(frame: int, framing: Framing) -> int:
    """Return the sample at which a frame begins to be shown."""
    return round(frame / framing.frames_per_second * framing.sample_rate_hz)


def held_samples(overlap: int, framing: Framing, decoder: GoesOn) -> int:
    """Return how many samples of an overlap stay as they are; what follows was made before it was seen what comes next, and is taken over by the new."""
    return overlap - round(decoder.taken_over * framing.samples)


def joined(before: np.ndarray, made: np.ndarray, framing: Framing, decoder: GoesOn) -> np.ndarray:
    """Return a window (sounds, samples) by `decoder` whose beginning is `before` (sounds, overlap), faded into the new just before the held part ends."""
    overlap, rate = before.shape[1], framing.sample_rate_hz
    last = held_samples(overlap, framing, decoder) - round(EDGE_SECONDS * rate)
    first = last - round(FADE_SECONDS * rate)
    share = np.clip((np.arange(overlap) - first) / (last - first), 0, 1).astype(np.float32)
    whole = made.copy()
    whole[:, :overlap] = before * (1 - share) + made[:, :overlap] * share
    return whole


class FinishedWindows:
    """Windows that are made, one file each (named after its first sample) in a folder beside the output; whole or not there.

    What was made by another clip, model or wish (`made_by` differs) is not gone on with but removed.
    """

    def __init__(self, folder: Path, *, made_by: Mapping[str, Any], sample_rate_hz: int) -> None:
        self.folder, self.sample_rate_hz = folder, sample_rate_hz
        self._files: list[Path] = []
        told, identity = folder / "made_by.json", json.dumps(made_by, sort_keys=True, default=str)
        if folder.exists() and not (told.is_file() and told.read_text(encoding="utf-8") == identity):
            self.remove()
        if not folder.exists():
            with replacing(told) as beside:
                beside.write_text(identity, encoding="utf-8")
        self._files = sorted(folder.glob("*.npy"))

    def __len__(self) -> int:
        return len(self._files)

    @property
    def samples(self) -> int:
        """Length of all windows together."""
        return int(self._files[-1].stem) + self._read(-1).shape[1]

    def add(self, first: int, made: np.ndarray) -> None:
        """Keep the next window (sounds, samples), whose first sample is number `first` of the whole."""
        path = self.folder / f"{first:012d}.npy"
        with replacing(path) as beside, open(beside, "wb") as file:
            np.save(file, np.ascontiguousarray(made, dtype=np.float32))
        self._files.append(path)

    def since(self, first: int) -> np.ndarray:
        """Return what the last window holds from sample number `first` on: (sounds, samples)."""
        return self._read(-1)[:, first - int(self._files[-1].stem) :]

    def sound(self, index: int) -> Iterator[Sound]:
        """Yield one of the sounds block by block: of each window what the next one does not tell again."""
        for number, path in enumerate(self._files):
            end = None if number + 1 == len(self) else int(self._files[number + 1].stem) - int(path.stem)
            yield Sound(self._read(number)[index : index + 1, :end], self.sample_rate_hz)

    def remove(self) -> None:
        """Remove the folder; nothing is finished then."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._files = []

    def _read(self, number: int) -> np.ndarray:
        path = self._files[number]
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            self.remove()
            raise UserError(f"{path}: a finished window that cannot be read ({error}). Call again: it is begun anew.") from error
