"""What is to be known of a clip with sound, or of a sound, before it is trained on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tonggan.errors import UserError
from tonggan.modalities import Framing
from tonggan.modalities.audio import Sound, open_sound
from tonggan.modalities.video import TOLERANCE_SECONDS, has_pictures, opened, timed_frames, video_facts

SILENT = 1e-3
"""Peak below which a sound is silent: 60 dB under full scale."""
CLIPPED_SHARE = 1e-3
"""Share of samples at full scale from which a sound is clipped."""
LENGTH_SECONDS = 0.1
"""Seconds by which sound may end before or behind the picture."""
DRIFT_SHARES = (0.002, 0.1)
"""Lengths that differ by more than the first share, and by no more than the second, are likely those of clocks that run at different rates: 25 and 24
frames a second, 48 and 44.1 kHz. What differs by more is cut off, or goes on."""
LOOKED_AT = Framing(size=16)
"""The form in which frames are looked at: small, for most of the time goes into decoding."""


@dataclass(frozen=True)
class ClipFacts:
    """What is known of a clip: `remarks` are handled, `problems` make it unusable; `digest` is the same for the same frames and sound."""

    remarks: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    digest: str = ""


def inspect_clip(path: Path, *, sound: Path | None = None) -> ClipFacts:
    """Return what there is to say of a clip and its sound (its own unless another file is given); every frame and sample is decoded."""
    try:
        with opened(path) as container:
            if not has_pictures(container):
                return ClipFacts(problems=("no video in it",))
        facts = video_facts(path)
        frames = list(timed_frames(path, LOOKED_AT))
    except UserError:
        return ClipFacts(problems=("unreadable or cut off",))
    if len(frames) < 3:  # the end is told apart
        return ClipFacts(problems=("one frame",))
    if sound is None and not facts.sound_tracks:
        return ClipFacts(problems=("no sound track",))
    heard = _open(sound or path)
    if heard is None:
        return ClipFacts(problems=("unreadable sound",))
    between = np.diff([second for second, _ in frames[:-1]])
    found = {
        "variable frame rate": bool(np.ptp(between) > max(TOLERANCE_SECONDS, 0.1 * float(between.mean()))),
        **_lengths(heard.seconds, frames[-1][0]),
    }
    remarks = (*(name for name, is_so in found.items() if is_so), *_sound_remarks(heard))
    digest = hashlib.sha256(np.stack([pixels for _, pixels in frames]).tobytes() + heard.samples.tobytes())
    return ClipFacts(remarks, (), digest.hexdigest())


def _lengths(heard: float, seen: float) -> dict[str, bool]:
    """Return what there is to say of the seconds of sound and picture."""
    late = heard - seen
    least, most = DRIFT_SHARES
    return {
        "sound shorter than picture": late < -LENGTH_SECONDS,
        "sound longer than picture": late > LENGTH_SECONDS,
        "drift (lengths of sound and picture differ a little)": abs(late) > LENGTH_SECONDS and least * seen < abs(late) <= most * seen,
    }


def inspect_sound(path: Path) -> ClipFacts:
    """Return what there is to say of a sound file; every sample is decoded."""
    heard = _open(path)
    if heard is None:
        return ClipFacts(problems=("unreadable sound",))
    return ClipFacts(_sound_remarks(heard), (), hashlib.sha256(heard.samples.tobytes()).hexdigest())


def _open(path: Path) -> Sound | None:
    try:
        return open_sound(path)
    except UserError:
        return None


def _sound_remarks(sound: Sound) -> tuple[str, ...]:
    level = np.abs(sound.samples)
    found = {"silent": float(level.max(initial=0)) < SILENT, "clipped": float((level >= 0.999).mean()) > CLIPPED_SHARE}
    return tuple(name for name, is_so in found.items() if is_so)
