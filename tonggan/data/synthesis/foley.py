"""The foley data set: clips of things that fall, bounce, slide and shatter, with their sound and the exact second of everything that is heard.

Made by code alone, any amount of it: clip number i is a function of (seed, i).
"""

import json
from pathlib import Path

import numpy as np

from tonggan.data.synthesis.scene import Scene, compose, frames, sound
from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.modalities import Framing, video
from tonggan.modalities.audio import Sound
from tonggan.progress import Show

FRAMING = Framing(size=64, frames_per_second=25.0, sample_rate_hz=16_000, clip_seconds=4.0)
TEST_EVERY = 10
"""One clip in so many is a test clip."""


def make_foley(out: Path, *, clips: int, seed: int = 0, framing: Framing = FRAMING, progress: Show | None = None) -> None:
    """Write `clips` clips (MP4: H.264, FLAC) and metadata.jsonl into the new folder `out`.

    A row has `file_name`, `text`, `split` (one in ten is for the test), `seconds`, `materials`, and `events`: [second, what] of all that is heard.
    """
    if clips < 1:
        raise UserError(f"{clips} clips are none: give --clips 1 or more.")
    if out.exists():
        raise UserError(f"{out} exists already. Choose another folder, or remove it.")
    with replacing(out) as beside:
        (beside / "clips").mkdir(parents=True)
        with open(beside / "metadata.jsonl", "w", encoding="utf-8") as table:
            for number in range(clips):
                scene = write_clip(beside / "clips" / f"{number:05d}.mp4", np.random.default_rng([seed, number]), framing=framing)
                table.write(json.dumps(_row(scene, number), ensure_ascii=False) + "\n")
                if progress is not None:
                    progress("making clips", number + 1, clips)


def _row(scene: Scene, number: int) -> dict[str, object]:
    return {
        "file_name": f"clips/{number:05d}.mp4",
        "text": caption(scene),
        "split": "test" if number % TEST_EVERY == TEST_EVERY - 1 else "train",
        "seconds": scene.seconds,
        "materials": sorted({event.material for event in scene.events}),
        "events": [[round(event.second, 4), f"{event.material} {event.what}"] for event in scene.events],
    }


def caption(scene: Scene) -> str:
    """Say what is heard of a scene: `a metal ball bounces 4 times, a wood block slides`."""
    said = []
    for thing in scene.things:
        count = len(thing.events)
        does = {"bar": "falls", "block": "slides"}.get(thing.shape, f"bounces {count} times" if count > 1 else "falls")
        if any(event.what == "shatter" for event in thing.events):
            does = "shatters"
        said.append(f"a {thing.material.name} {thing.shape} {does}" if count else f"a {thing.material.name} {thing.shape}")
    return ", ".join(said)


def write_clip(path: Path, random: np.random.Generator, *, framing: Framing = FRAMING) -> Scene:
    """Write one clip, and return what happens in it."""
    scene = compose(random, seconds=framing.clip_seconds)
    heard = sound(scene, random, sample_rate_hz=framing.sample_rate_hz)
    seen = frames(scene, random, size=framing.size, frames_per_second=framing.frames_per_second)
    encode(path, seen, Sound(heard[None], framing.sample_rate_hz), frames_per_second=framing.frames_per_second)
    return scene


def encode(path: Path, seen: np.ndarray, heard: Sound, *, frames_per_second: float) -> None:
    """Write frames uint8 (frames, 3, height, width) and sound: lossless sound, because what comes before a blow must be silent."""
    video.encode(path, seen, frames_per_second=frames_per_second, samples=heard.samples, sample_rate_hz=heard.sample_rate_hz, lossless=True)
