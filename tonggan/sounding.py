"""Sound for silent clips, of any length in constant memory: windows that overlap and go on from each other, then muxed with the untouched pictures."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from tonggan import __version__
from tonggan.errors import DiskFullError, UserError
from tonggan.files import numbered, one_at_a_time, replacing
from tonggan.modalities import Framing
from tonggan.modalities.audio import Sound, fitted, resampled, sound_blocks
from tonggan.modalities.onsets import onsets
from tonggan.modalities.provenance import Provenance
from tonggan.modalities.sound_files import SOUND_FORMATS, UncopyableError, check_copy, check_ending, most_channels, mux, save_sound
from tonggan.modalities.timeline import stacked, timeline
from tonggan.modalities.video import Clip, VideoFacts, frames_at, frames_at_rate, video_facts
from tonggan.pipeline import Tonggan
from tonggan.progress import Show
from tonggan.sound_windows import FinishedWindows, GoesOn, ahead, first_sample, joined, window_seed, windows

LOUDEST = 0.98
KEY_FRAMES = 12
"""In a row of a preview."""
KEY_FRAMING = Framing(size=160)
ROW_SECONDS = 12.0
"""Length of a row of a preview, longer where there would be more than `MOST_ROWS`."""
MOST_ROWS = 8


@dataclass(frozen=True)
class Request:
    """How to make sound: first seed, decoder settings, and what becomes of the sound that a clip has."""

    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    mix: float = 0.0
    """Share of the clip's own sound in what is heard."""
    keep_original: bool = False
    """Whether the clip's own sound stays as a further track."""
    prompt: str | None = None
    """What is to be heard, in words; for models that take a prompt."""


def sound_clip(
    model: Tonggan,
    clip: Path,
    output: Path,
    *,
    n: int = 1,
    request: Request,
    warn: Callable[[str], None],
    preview: Path | None = None,
    progress: Show | None = None,
) -> list[Path]:
    """Give a clip `n` sounds, number i from `seed` + i, and return the files; `preview` is a PNG of key frames over what was made.

    Finished windows are kept beside the output until all is done: called again after it was stopped, was killed or could not write what it had made, it
    goes on, with the same result.
    Raises `UserError` for a clip without pictures, of one frame or cut off, an output that is the clip itself or of an unknown kind or cannot hold its
    pictures, a prompt for a model that takes none, and wishes that exclude each other; nothing is written then.
    """
    paths = numbered(output, n)
    facts = video_facts(clip)
    _check(clip, paths, request, facts.sound_tracks, warn, sample_rate_hz=model.framing.sample_rate_hz)
    if request.prompt is not None:
        for line in model.check_prompt(request.prompt, source="video", target="audio"):
            warn(line)
    check_preview(preview, clip)
    if not facts.moves:
        raise UserError(f"{clip}: there is one frame in it: nothing moves that could be heard.")
    with _alone(output):
        _make(model, clip, output, paths, request=request, facts=facts, warn=warn, preview=preview, progress=progress)
    return paths


def check_preview(preview: Path | None, clip: Path | None = None) -> None:
    """Raise `UserError` where a preview is wanted and its name is not that of a PNG, or is that of a folder or of the clip."""
    if preview is not None and preview.suffix.lower() != ".png":
        raise UserError(f"{preview}: a preview is a PNG. Give it a name that ends in .png.")
    if preview is not None and clip is not None and preview.exists() and preview.samefile(clip):
        raise UserError(f"{preview} is the clip itself. Choose another name with --preview.")
    if preview is not None and preview.is_dir():
        raise UserError(f"{preview} is a folder. Name a file.")


def provenance(model: Tonggan, request: Request, *, seed: int, size: tuple[int, int] | None) -> Provenance:
    """Return what a file says of a sound that was made from `seed`; `size` in pixels of what is seen beside, None where nothing is."""
    return Provenance(
        prompt=request.prompt,
        negative_prompt=None,
        seed=seed,
        model=model.name,
        model_hash=model.weights_hash,
        settings=model.settings("audio") | dict(request.settings) | ({"mix": request.mix} if request.mix else {}),
        size=size,
        software=f"tonggan {__version__}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Keep other processes from making the same output; raises `UserError` where one does."""

    def refuse() -> None:
        raise UserError(f"another process makes {output}. Let it end, or choose another name with -o.")

    lock = output.with_name(f".{output.name}.lock")
    with one_at_a_time(lock, wait=refuse):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _make(
    model: Tonggan,
    clip: Path,
    output: Path,
    paths: Sequence[Path],
    *,
    request: Request,
    facts: VideoFacts,
    warn: Callable[[str], None],
    preview: Path | None,
    progress: Show | None,
) -> None:
    """Make all windows that are not finished, then the files, then leave nothing else."""
    n = len(paths)
    finished = _finished(model, clip, output, n=n, request=request)
    if len(finished):
        warn(f"going on behind {len(finished)} finished windows in {finished.folder}.")
    try:
        try:
            _generate(model, clip, finished, n=n, request=request, seconds=facts.seconds, progress=progress)
        except DiskFullError:
            raise
        except UserError:  # of the clip or the wishes: what was made of them is of no use
            finished.remove()
            raise
        for index, path in enumerate(paths):
            told = provenance(model, request, seed=request.seed + index, size=facts.size)
            heard = _heard(finished, index, clip, request.mix, path)
            if path.suffix.lower() in SOUND_FORMATS:
                save_sound(heard, path, told)
            else:
                mux(clip, heard, path, told, keep_original=request.keep_original)
        if preview is not None:
            sounds = [_heard(finished, index, clip, request.mix, path) for index, path in enumerate(paths)]
            _save_preview(
                preview, clip, [resampled(sound, finished.sample_rate_hz) for sound in sounds], length=finished.samples, rate=finished.sample_rate_hz
            )
    except UncopyableError:  # and never will be: what was made for it is of no use
        finished.remove()
        raise
    except (KeyboardInterrupt, UserError):
        if len(finished):
            warn(f"{len(finished)} finished windows are kept in {finished.folder}: the same command goes on with them.")
        else:
            finished.remove()
        raise
    finished.remove()


def _check(clip: Path, paths: Sequence[Path], request: Request, tracks: int, warn: Callable[[str], None], *, sample_rate_hz: int) -> None:
    """Raise `UserError` for what is known to fail before anything is made; `sample_rate_hz` is the model's."""
    for path in paths:
        check_ending(path)
        if path.resolve() == clip.resolve() or (path.exists() and path.samefile(clip)):
            raise UserError(f"{path} is the clip itself. Choose another name with -o.")
    if not 0 <= request.mix < 1:
        raise UserError(f"--mix {request.mix:g} is not a share from 0 to below 1.")
    if (request.mix or request.keep_original) and not tracks:
        raise UserError(f"{clip} has no sound of its own: leave out {'--mix' if request.mix else '--keep-original'}.")
    if request.keep_original and paths[0].suffix.lower() in SOUND_FORMATS:
        raise UserError(f"{paths[0]} has room for one track: --keep-original needs a video, such as .mp4.")
    own = _own_sound(clip, paths[0]) if request.mix else None
    if paths[0].suffix.lower() not in SOUND_FORMATS:
        rate, channels = (sample_rate_hz, 1) if own is None else (own.sample_rate_hz, len(own.samples))
        check_copy(clip, paths[0], keep_original=request.keep_original, sample_rate_hz=rate, channels=channels)
    if tracks and not (request.mix or request.keep_original):
        warn(f"{clip} has sound already; it is not in the output. Keep it with --mix or --keep-original.")


def _own_sound(clip: Path, output: Path) -> Sound:
    """Return the first block of a clip's own sound as it is mixed into `output`; raises `UserError` where the track holds nothing."""
    first = next(sound_blocks(clip, most_channels=most_channels(output)), None)
    if first is None:
        raise UserError(f"{clip}: there is nothing in its sound track: leave out --mix.")
    return first


def _finished(model: Tonggan, clip: Path, output: Path, *, n: int, request: Request) -> FinishedWindows:
    """Return what an earlier run of the same model, clip and wishes has left."""
    there, wishes = clip.stat(), asdict(request)
    made_by = {
        "clip": [str(clip.resolve()), there.st_size, there.st_mtime_ns],
        "model": model.weights_hash,
        "defaults": model.settings("audio"),
        "n": n,
    }
    made_by |= {name: value for name, value in wishes.items() if name not in ("mix", "keep_original")}
    return FinishedWindows(output.with_name(f".{output.name}.windows"), made_by=made_by, sample_rate_hz=model.framing.sample_rate_hz)


def _generate(model: Tonggan, clip: Path, finished: FinishedWindows, *, n: int, request: Request, seconds: float, progress: Show | None) -> None:
    """Make the windows of a clip that are not finished yet, one after the other."""
    framing, decoder = model.framing, cast(GoesOn, model.model.decoders["audio"])
    for number, (first, frames) in enumerate(ahead(windows(frames_at_rate(clip, framing), framing))):
        if number == 0 and len(frames) < 2:
            raise UserError(f"{clip}: it lasts no longer than one frame: no time in which something could be heard.")
        if number >= len(finished):
            begin = first_sample(first, framing)
            before = finished.since(begin) if number else None
            start = None if before is None else torch.from_numpy(before)
            seeds = [window_seed(request.seed + i, number) for i in range(n)]
            made = _window(model, frames, seeds, request=request, start=start)
            made = fitted(made, first_sample(first + len(frames), framing) - begin)
            finished.add(begin, made if before is None else joined(before, made, framing, decoder))
        if progress is not None:
            done = first + len(frames)
            progress("listening", done, max(done, round(seconds * framing.frames_per_second)))


def _window(model: Tonggan, frames: np.ndarray, seeds: list[int], *, request: Request, start: torch.Tensor | None) -> np.ndarray:
    framing = model.framing
    clip = Clip(frames, np.arange(len(frames)) / framing.frames_per_second)
    made = model.generate(clip, to="audio", n=len(seeds), seeds=seeds, settings=request.settings, start=start, prompt=request.prompt)
    return np.stack([sound.mono() for sound in made])


def _heard(finished: FinishedWindows, index: int, clip: Path, mix: float, path: Path) -> Iterator[Sound]:
    """Yield what is heard of a sound that was made: it alone, or mixed with the clip's own."""
    return _mixed(finished, index, clip, mix, path) if mix else _levelled(finished, index)


def _levelled(finished: FinishedWindows, index: int) -> Iterator[Sound]:
    """Yield a sound, softer where it would be louder than files can hold."""
    peak = max(float(np.abs(block.samples).max(initial=0)) for block in finished.sound(index))
    gain = np.float32(min(1.0, LOUDEST / max(peak, 1e-9)))
    for block in finished.sound(index):
        yield Sound(block.samples * gain, block.sample_rate_hz)


class _Feed:
    """Samples of blocks, so many at a time; silence behind their end."""

    def __init__(self, blocks: Iterator[Sound]) -> None:
        self.blocks = blocks
        self.kept: np.ndarray | None = None

    def take(self, count: int, channels: int) -> np.ndarray:
        kept = np.zeros((channels, 0), dtype=np.float32) if self.kept is None else self.kept
        while kept.shape[1] < count and (block := next(self.blocks, None)) is not None:
            kept = np.concatenate([kept, np.broadcast_to(block.samples, (channels, block.samples.shape[1]))], axis=1)
        self.kept = kept[:, count:]
        taken = kept[:, :count]
        return np.pad(taken, ((0, 0), (0, count - taken.shape[1])))


def _mixed(finished: FinishedWindows, index: int, clip: Path, share: float, output: Path) -> Iterator[Sound]:
    """Yield what was made under the clip's own sound, at the rate of the latter and with its channels, or as many as `output` takes."""
    first = _own_sound(clip, output)
    rate, channels = first.sample_rate_hz, len(first.samples)
    ours, theirs = _Feed(resampled(_levelled(finished, index), rate)), _Feed(sound_blocks(clip, most_channels=most_channels(output)))
    left = round(finished.samples / finished.sample_rate_hz * rate)
    while left:
        count = min(rate, left)
        both = (1 - share) * ours.take(count, channels) + share * theirs.take(count, channels)
        yield Sound(np.clip(both, -1, 1).astype(np.float32), rate)
        left -= count


def _save_preview(path: Path, clip: Path, sounds: Sequence[Iterator[Sound]], *, length: int, rate: int) -> None:
    """Write key frames over the waveforms and spectrograms of what is heard, each with its onsets; a long clip in rows."""
    rows = min(MOST_ROWS, max(1, math.ceil(length / rate / ROW_SECONDS)))
    shown = frames_at(clip, KEY_FRAMING, [number * length / rate / (rows * KEY_FRAMES) for number in range(rows * KEY_FRAMES)])
    feeds, drawn = [_Feed(Sound(block.mono()[None], rate) for block in sound) for sound in sounds], []
    for row in range(rows):
        first, last = length * row // rows, length * (row + 1) // rows
        heard = [feed.take(last - first, 1)[0] for feed in feeds]
        keys = shown[row * KEY_FRAMES : (row + 1) * KEY_FRAMES]
        drawn.append(timeline(keys, heard, rate, marks=[onsets(each, rate).tolist() for each in heard], begin=first / rate))
    with replacing(path) as beside:
        stacked(drawn).save(beside, format="PNG")
