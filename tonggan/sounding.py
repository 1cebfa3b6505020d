"""Sound for silent clips, of any length in constant memory: windows that overlap and go on from each other, then muxed with the untouched pictures."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from tonggan import __version__
from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.modalities import Framing
from tonggan.modalities.audio import Sound, sound_blocks
from tonggan.modalities.onsets import onsets
from tonggan.modalities.provenance import Provenance
from tonggan.modalities.sound_files import SOUND_FORMATS, check_ending, mux, save_sound
from tonggan.modalities.timeline import timeline
from tonggan.modalities.video import Clip, frames_at_rate, timed_frames, video_facts
from tonggan.pipeline import Tonggan
from tonggan.progress import Show

OVERLAP = 0.25
"""Share of a window that the next one goes on from."""
HELD = 0.5
"""Share of the overlap that stays as it is: what follows was made before it was seen what comes next, and is made anew."""
FADE_SECONDS = 0.032
EDGE_SECONDS = 0.016
"""How far before its end the held part fades into the new: the last frames of a spectrogram know only half of their window."""
LOUDEST = 0.98
KEY_FRAMES = 12
KEY_FRAMING = Framing(size=160)


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

    Raises `UserError` for a clip without pictures or of one frame, an output that is the clip itself or of an unknown kind, a prompt for a model that takes
    none, and wishes that exclude each other; nothing is written then.
    """
    paths = [output if n == 1 else output.with_stem(f"{output.stem}-{i}") for i in range(n)]
    facts = video_facts(clip)
    _check(clip, paths, request, facts.sound_tracks, warn)
    if request.prompt is not None:
        for line in model.check_prompt(request.prompt, source="video", target="audio"):
            warn(line)
    if preview is not None and preview.suffix.lower() != ".png":
        raise UserError(f"{preview}: a preview is a PNG.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sound-", dir=output.parent) as folder:
        raw = [Path(folder) / f"{i}.wav" for i in range(n)]
        _generate(model, clip, raw, request=request, seconds=facts.seconds, progress=progress)
        for index, (path, made) in enumerate(zip(paths, raw, strict=True)):
            provenance = _provenance(model, request, seed=request.seed + index, size=facts.size)
            heard = _mixed(made, clip, request.mix) if request.mix else _read(made, gain=_gain(made))
            if path.suffix.lower() in SOUND_FORMATS:
                save_sound(heard, path, provenance)
            else:
                mux(clip, heard, path, provenance, keep_original=request.keep_original)
        if preview is not None:
            _save_preview(preview, clip, raw, seconds=facts.seconds)
    return paths


def _check(clip: Path, paths: Sequence[Path], request: Request, tracks: int, warn: Callable[[str], None]) -> None:
    for path in paths:
        check_ending(path)
        if path.resolve() == clip.resolve():
            raise UserError(f"{path} is the clip itself. Choose another name with -o.")
    if not 0 <= request.mix < 1:
        raise UserError(f"--mix {request.mix:g} is not a share from 0 to below 1.")
    if (request.mix or request.keep_original) and not tracks:
        raise UserError(f"{clip} has no sound of its own: leave out {'--mix' if request.mix else '--keep-original'}.")
    if request.keep_original and paths[0].suffix.lower() in SOUND_FORMATS:
        raise UserError(f"{paths[0]} has room for one track: --keep-original needs a video, such as .mp4.")
    if tracks and not (request.mix or request.keep_original):
        warn(f"{clip} has sound already; it is not in the output. Keep it with --mix or --keep-original.")


def window_seed(seed: int, window: int) -> int:
    """Return the seed of a window: the first has the clip's own."""
    return seed if window == 0 else (seed + 1) * 1_000_003 + window


def windows(frames: Iterator[np.ndarray], framing: Framing) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (frames of a window (frames, 3, size, size), how many of them are new), each window overlapping the one before; the last may be short."""
    overlap = round(framing.frames * OVERLAP)
    kept: list[np.ndarray] = []
    new = 0
    for frame in frames:
        if len(kept) == framing.frames:
            yield np.stack(kept), new
            kept, new = kept[-overlap:], 0
        kept.append(frame)
        new += 1
    yield np.stack(kept), new


def _generate(model: Tonggan, clip: Path, raw: Sequence[Path], *, request: Request, seconds: float, progress: Show | None) -> None:
    """Write the sounds of a clip, window after window, as WAV files of floats."""
    framing = model.framing
    rate, overlap = framing.sample_rate_hz, round(framing.frames * OVERLAP) / framing.frames_per_second
    held, pending, done = round(overlap * HELD * rate), None, 0
    with ExitStack() as files:
        written = [files.enter_context(soundfile.SoundFile(path, "w", rate, 1, format="WAV", subtype="FLOAT")) for path in raw]
        for number, (frames, new) in enumerate(windows(frames_at_rate(clip, framing), framing)):
            if number == 0 and len(frames) < 2:
                raise UserError(f"{clip}: a clip of one frame has no time in which something could be heard.")
            begin = None if pending is None else torch.from_numpy(pending[:, :held])
            seeds = [window_seed(request.seed + i, number) for i in range(len(raw))]
            made = _window(model, frames, seeds, request=request, start=begin)
            if pending is not None:
                made = _joined(pending, made, held=held, rate=rate)
            whole = round(len(frames) / framing.frames_per_second * rate)
            keep = whole - round(overlap * rate) if len(frames) == framing.frames else whole
            for file, waveform in zip(written, made, strict=True):
                file.write(waveform[:keep])
            pending, done = made[:, keep:whole], done + new
            if progress is not None:
                progress("listening", done, max(done, round(seconds * framing.frames_per_second)))
        for file, waveform in zip(written, pending if pending is not None else (), strict=True):
            file.write(waveform)


def _window(model: Tonggan, frames: np.ndarray, seeds: list[int], *, request: Request, start: torch.Tensor | None) -> np.ndarray:
    framing = model.framing
    clip = Clip(frames, np.arange(len(frames)) / framing.frames_per_second)
    made = model.generate(clip, to="audio", n=len(seeds), seeds=seeds, settings=request.settings, start=start, prompt=request.prompt)
    return np.stack([sound.mono() for sound in made])


def _joined(pending: np.ndarray, made: np.ndarray, *, held: int, rate: int) -> np.ndarray:
    """Return a window whose beginning is what was made before, faded into the new just before the held part ends."""
    last = held - round(EDGE_SECONDS * rate)
    first = last - round(FADE_SECONDS * rate)
    share = np.clip((np.arange(pending.shape[1]) - first) / (last - first), 0, 1)
    joined = made.copy()
    joined[:, : pending.shape[1]] = pending * (1 - share) + made[:, : pending.shape[1]] * share
    return joined


def _gain(path: Path) -> float:
    peak = max((float(np.abs(block).max(initial=0)) for block in soundfile.blocks(path, blocksize=1 << 16)), default=0.0)
    return min(1.0, LOUDEST / max(peak, 1e-9))


def _read(path: Path, *, gain: float = 1.0) -> Iterator[Sound]:
    with soundfile.SoundFile(path) as file:
        for block in file.blocks(blocksize=file.samplerate, dtype="float32", always_2d=True):
            yield Sound(np.ascontiguousarray(block.T) * np.float32(gain), file.samplerate)


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


def _mixed(made: Path, clip: Path, share: float) -> Iterator[Sound]:
    """Yield what was made under the clip's own sound, at the rate and with the channels of the latter."""
    first = next(sound_blocks(clip))
    rate, channels = first.sample_rate_hz, len(first.samples)
    ours, theirs = _Feed(sound_blocks(made, sample_rate_hz=rate)), _Feed(sound_blocks(clip))
    left = round(soundfile.info(made).duration * rate)
    while left:
        count = min(rate, left)
        both = (1 - share) * ours.take(count, channels) + share * theirs.take(count, channels)
        yield Sound(np.clip(both, -1, 1).astype(np.float32), rate)
        left -= count


def _provenance(model: Tonggan, request: Request, *, seed: int, size: tuple[int, int]) -> Provenance:
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


def _save_preview(path: Path, clip: Path, raw: Sequence[Path], *, seconds: float) -> None:
    """Write key frames over the waveforms and spectrograms, with the onsets of the first sound."""
    heard = [soundfile.read(each, dtype="float32")[0] for each in raw]
    rate = soundfile.info(raw[0]).samplerate
    shown: list[np.ndarray] = []
    for second, frame in timed_frames(clip, KEY_FRAMING):
        if len(shown) < KEY_FRAMES and second >= len(shown) * len(heard[0]) / rate / KEY_FRAMES:
            shown.append(frame)
    drawn = timeline(shown, heard, rate, events=onsets(heard[0], rate).tolist())
    with replacing(path) as beside:
        drawn.save(beside, format="PNG")
