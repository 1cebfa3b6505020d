"""Windows of clips: what is seen and heard of a clip at once, and what is heard in it at another time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tonggan.data.forms import FULL_SCALE
from tonggan.data.pack import Pack
from tonggan.errors import UserError
from tonggan.modalities.audio import fitted
from tonggan.modalities.image import to_float


@dataclass(frozen=True)
class Shifted:
    """What is heard in the same clips at another time: modality -> what encoders take, and (batch,) bool, False where a clip leaves no room for it."""

    inputs: Mapping[str, torch.Tensor]
    real: torch.Tensor


@dataclass(frozen=True)
class Shifts:
    """How far, in seconds, another window of the same clip begins from the one that is seen, either way."""

    shortest: float
    longest: float

    def in_frames(self, frames_per_second: float) -> tuple[int, int]:
        """Return shortest and longest in whole frames, at least one."""
        shortest = max(1, round(self.shortest * frames_per_second))
        return shortest, max(shortest, round(self.longest * frames_per_second))

    def of(self, pack: Pack, indices: np.ndarray, *, places: np.ndarray | None, draws: np.ndarray) -> Shifted:
        """Return what is heard at another time in rows whose windows begin at `places`; `draws` (rows,) in [0, 1) choose the time."""
        shortest, longest = self.in_frames(pack.framing.frames_per_second)
        firsts, spare = first_frames(pack, indices, places), spare_frames(pack, indices)
        moved, real = shifted_frames(firsts, spare, draws, shortest=shortest, longest=longest)
        return Shifted({"audio": heard_from(pack, indices, moved)}, torch.from_numpy(real))

    def check_room(self, pack: Pack, indices: np.ndarray) -> None:
        """Raise `UserError` where no row leaves room for the shortest shift."""
        if pack.modality == "image":
            raise UserError("objectives.align_time_shifts: pictures have no time. Leave it out, or name clips.")
        shortest, _ = self.in_frames(pack.framing.frames_per_second)
        if not (spare_frames(pack, indices) >= shortest).any():
            raise UserError(
                f"objectives.align_time_shifts: no clip is {self.shortest:g} s longer than a window of {pack.framing.clip_seconds:g} s. "
                "Set a shorter shift or data.clip_seconds."
            )


def spare_frames(pack: Pack, indices: np.ndarray) -> np.ndarray:
    """Return by how many frames each clip is longer than a window (rows,)."""
    framing = pack.framing
    if pack.modality == "video":
        whole = pack.lengths("frames", indices)
    else:
        whole = (pack.lengths("samples", indices) / framing.sample_rate_hz * framing.frames_per_second).astype(np.int64)
    return np.clip(whole - framing.frames, 0, None)


def first_frames(pack: Pack, indices: np.ndarray, places: np.ndarray | None) -> np.ndarray:
    """Return the frame (rows,) at which each clip's window begins: place 0 is the beginning, 1 the last that is whole."""
    spare = spare_frames(pack, indices)
    return np.zeros_like(spare) if places is None else np.minimum((places * (spare + 1)).astype(np.int64), spare)


def shifted_frames(firsts: np.ndarray, spare: np.ndarray, draws: np.ndarray, *, shortest: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames (rows,) at which other windows of the same clips begin, and where there are such (rows,) bool.

    `firsts` are the windows that are seen, of 0 to `spare`; `draws` (rows,) in [0, 1) choose evenly among the frames that are `shortest` to `longest` away
    and inside the clip, either way.
    """
    earlier = np.clip(np.minimum(firsts, longest) - shortest + 1, 0, None)
    later = np.clip(np.minimum(spare - firsts, longest) - shortest + 1, 0, None)
    chosen = np.minimum((draws * (earlier + later)).astype(np.int64), earlier + later - 1)
    moved = np.where(chosen < earlier, firsts - shortest - chosen, firsts + shortest + chosen - earlier)
    real = earlier + later > 0
    return np.where(real, moved, firsts), real


def windows_of(pack: Pack, indices: np.ndarray, firsts: np.ndarray) -> dict[str, Any]:
    """Return windows of clips, in whole frames from `firsts` (rows,): a clip that is shorter goes on with its last frame and with silence."""
    heard = {"audio": heard_from(pack, indices, firsts)}
    if pack.modality != "video":
        return heard
    frames = []
    for index, first in zip(indices.tolist(), firsts.tolist(), strict=True):
        found = pack.items("frames", index)[first : first + pack.framing.frames]
        frames.append(found[np.minimum(np.arange(pack.framing.frames), len(found) - 1)])
    video = torch.from_numpy(np.stack(frames))
    return {"video": video, "image": middle_frame(video)} | heard


def middle_frame(video: torch.Tensor) -> torch.Tensor:
    """Return the frame in the middle of clips uint8 (batch, frames, 3, size, size) as pictures (batch, 3, size, size) in [-1, 1]."""
    return to_float(video[:, video.shape[1] // 2])


def heard_from(pack: Pack, indices: np.ndarray, firsts: np.ndarray) -> torch.Tensor:
    """Return what is heard from the frames `firsts` (rows,) on: float32 (rows, samples) in [-1, 1], silent behind the end."""
    framing = pack.framing
    begins = np.round(firsts / framing.frames_per_second * framing.sample_rate_hz).astype(np.int64)
    heard = [fitted(pack.items("samples", index)[begin:], framing.samples) for index, begin in zip(indices.tolist(), begins.tolist(), strict=True)]
    return torch.from_numpy(np.stack(heard)).float().div_(FULL_SCALE)
