"""Videos: file -> frames, each at the second when it is shown, upright; any container and codec that PyAV's FFmpeg reads.

Time 0 is when the first frame is shown. Frames are found by their time stamps, never by their number: variable frame rates keep their time.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import torch
from torch import Tensor

from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.modalities import Framing, Modality

ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ogv", ".gif", ".ts", ".mts", ".m2ts", ".3gp", ".wmv", ".flv")
"""File endings by which videos are looked for in a folder."""
BOXES = (b"ftyp", b"styp", b"sidx", b"moov", b"moof", b"mdat", b"mfra", b"free", b"skip", b"wide", b"uuid", b"meta", b"emsg", b"prft")
"""What lies at the top of an MP4 or MOV."""
SEGMENT = bytes.fromhex("18538067")
"""What holds all of a Matroska file but its head."""
TOLERANCE_SECONDS = 1e-4
"""Time stamps are rounded to the ticks of their container: a frame that is late by less is on time."""
SHOWN_SIZE, SHOWN_RATE = 480, 60.0
"""Most pixels a side and frames a second of a clip that is written to be shown."""


@dataclass(frozen=True)
class Clip:
    """Frames uint8 (frames, 3, height, width), and the second at which each begins to be shown (frames,), rising."""

    frames: np.ndarray
    seconds: np.ndarray

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[1] != 3 or not len(self.frames) or len(self.frames) != len(self.seconds):
            raise ValueError(f"a clip has frames (frames, 3, height, width) and as many seconds, not {self.frames.shape} and {len(self.seconds)}")

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Return the frames that are shown at the given seconds; the first is shown before it begins, the last for ever."""
        places = np.searchsorted(self.seconds, seconds + TOLERANCE_SECONDS, side="right") - 1
        return self.frames[np.clip(places, 0, None)]


@dataclass(frozen=True)
class VideoFacts:
    """What a file says of itself before its frames are read: upright size in pixels, length in seconds and frames a second (0 where it does not say)."""

    size: tuple[int, int]
    seconds: float
    codec: str
    sound_tracks: int
    frames_per_second: float
    moves: bool
    """Whether there is more than one frame."""


@contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a media file; raises `UserError` where it is missing or none, and for anything in it that cannot be decoded."""
    if path.is_dir():
        raise UserError(f"{path} is a folder. Name a file in it, one at a time.")
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty.")
    try:
        with av.open(path, metadata_errors="replace") as container:
            yield container
    except av.FFmpegError as error:
        raise UserError(
            f"{path}: no video or sound that can be read, or cut off ({error.strerror}). Copy it again, or convert it to MP4 or WAV."
        ) from error


def video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """Return the video stream of a file; raises `UserError` where it has none (cover art is none), or ends before what its index names."""
    stream = next(_moving(container), None)
    if stream is None:
        raise UserError(f"{path}: there is no video in it.")
    if stream.codec_context is None:
        raise UserError(f"{path}: its pictures are of a codec that is not known here. Convert it to MP4 with H.264.")
    named = stream.index_entries
    ends = next((end for kind, end in {"mp4": _boxes_end, "matroska": _segment_end}.items() if kind in container.format.name), None)
    whole = max(named[-1].pos + named[-1].size if len(named) else 0, 0 if ends is None else ends(path))
    if whole > container.size:
        raise UserError(f"{path}: cut off: {container.size:,} bytes of {whole:,} or more. Copy it again.")
    return stream


def _boxes_end(path: Path) -> int:
    """Return the byte at which the last of an MP4's boxes says that it ends: one in fragments has no index that names them all (ISO/IEC 14496-12, 4.2)."""
    end, size = 0, path.stat().st_size
    with open(path, "rb") as file:
        while end < size:
            file.seek(end)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4]), head[4:8]
            length = int.from_bytes(head[8:16]) if length == 1 else length
            if kind not in BOXES or length < 8:  # to the end of the file, or no box: what players ignore
                break
            end += length
    return end


def _segment_end(path: Path) -> int:
    """Return the byte at which a Matroska file's segment says that it ends (RFC 8794, 4 and 6); 0 where it does not say, as what is sent live."""
    with open(path, "rb") as file:
        start = file.read(64 * 1024)

    def element(place: int) -> tuple[bytes, int, int | None]:
        """Return the identity of the element at a byte, where its content begins, and its size; None for one that is not known."""
        width = 9 - start[place].bit_length()
        size_at = place + width
        length = 9 - start[size_at].bit_length()
        size = int.from_bytes(start[size_at : size_at + length]) & (1 << 7 * length) - 1
        return start[place:size_at], size_at + length, None if size == (1 << 7 * length) - 1 else size

    try:
        _, content, size = element(0)
        segment, content, size = element(content + (size or 0))
    except IndexError:
        return 0
    return 0 if segment != SEGMENT or size is None else content + size


def _moving(container: av.container.InputContainer) -> Iterator[av.VideoStream]:
    """Yield the video streams that are no cover art."""
    return (stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic)


def has_pictures(container: av.container.InputContainer) -> bool:
    """Return whether a file has a video stream; cover art is none."""
    return any(True for _ in _moving(container))


def first_second(path: Path) -> float:
    """Return the second of a file's clock at which its first frame is shown, 0 where it has none; what the stream tells where none can be decoded.

    The start that a stream tells is not always that: of an AVI with frames that are told out of order it is earlier.
    """
    told = 0.0
    try:
        with opened(path) as container:
            stream = next(_moving(container), None)
            told = 0.0 if stream is None or stream.start_time is None or stream.time_base is None else float(stream.start_time * stream.time_base)
            first = None if stream is None else next(iter(container.decode(stream)), None)
            return told if first is None or first.time is None else float(first.time)
    except UserError:  # pictures that cannot be decoded: the sound beside them may be
        return told


def video_facts(path: Path) -> VideoFacts:
    """Return what a file says of itself; raises `UserError` where it cannot be read."""
    with opened(path) as container:
        stream = video_stream(container, path)
        frames = list(islice(container.decode(stream), 2))
        if not frames:
            raise UserError(f"{path}: there is no frame in it.")
        first = frames[0]
        size = (first.height, first.width) if _turns(first).transposed else (first.width, first.height)
        seconds = (
            float(stream.duration * stream.time_base) if stream.duration and stream.time_base else float((container.duration or 0) / av.time_base)
        )
        return VideoFacts(size, seconds, stream.codec_context.name, len(container.streams.audio), float(stream.average_rate or 0), len(frames) > 1)


@dataclass(frozen=True)
class _Turns:
    """How a stored frame becomes upright: rows and columns change places, then each is told backwards or not."""

    transposed: bool = False
    rows: bool = False
    columns: bool = False


def _turns(frame: av.VideoFrame) -> _Turns:
    """Return how a frame is turned and mirrored by its display matrix: fixed-point a, b, u, c, d, v, x, y, w, by which (p, q) is shown at (a p + c q, b p + d q)."""
    told = frame.side_data.get("DISPLAYMATRIX")
    if told is None:
        return _Turns()
    a, b, _, c, d = np.frombuffer(cast(Any, told), dtype=np.int32)[:5].astype(int)
    if abs(a) >= abs(b):
        return _Turns(rows=d < 0, columns=a < 0)
    return _Turns(transposed=True, rows=b < 0, columns=c < 0)


def _array(frame: av.VideoFrame, framing: Framing) -> np.ndarray:
    """Return a frame upright, scaled by area and cropped or padded to a square: uint8 (3, size, size)."""
    size = framing.size
    side = min(frame.width, frame.height) if framing.fit == "crop" else max(frame.width, frame.height)
    width, height = (max(1, round(length * size / side)) for length in (frame.width, frame.height))
    # One thread: a scaler is made anew for every frame, and to start threads for one takes longer than to scale it.
    pixels: np.ndarray = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA", threads=1).to_ndarray()
    turns = _turns(frame)
    pixels = pixels.transpose(1, 0, 2) if turns.transposed else pixels
    pixels = pixels[:: -1 if turns.rows else 1, :: -1 if turns.columns else 1]
    top, left = ((length - size) // 2 for length in pixels.shape[:2])
    if framing.fit == "pad":
        around = [(-edge, size - length + edge) for edge, length in zip((top, left), pixels.shape[:2], strict=True)]
        pixels, top, left = np.pad(pixels, [*around, (0, 0)]), 0, 0
    return np.ascontiguousarray(pixels[top : top + size, left : left + size].transpose(2, 0, 1))


def timed_frames(path: Path, framing: Framing) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (second at which it begins to be shown, uint8 (3, size, size)) of every frame, and at last the second of the end with the last frame.

    Raises `UserError` where the file cannot be read to its end.
    """
    return ((second, _array(frame, framing)) for second, frame in _decoded(path, shown_seconds=1 / framing.frames_per_second))


def _decoded(path: Path, *, shown_seconds: float) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield (second, frame as it is) as `timed_frames` does; the last is shown for `shown_seconds` where the file does not say how long."""
    with opened(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "AUTO"
        start = None
        second, last, shown = 0.0, None, shown_seconds
        for number, frame in enumerate(container.decode(stream)):
            if frame.time is None:
                raise UserError(f"{path}: frame {number} has no time stamp. Put the video into a container that has them, such as .mp4.")
            start = frame.time if start is None else start
            if frame.time - start < second - TOLERANCE_SECONDS:
                back = f"frame {number} is to be shown {frame.time - start:g} s after the first, the one before it {second:g} s"
                raise UserError(f"{path}: its time stamps go back ({back}). Encode it again, which gives it new ones.")
            second, last = frame.time - start, frame
            shown = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else shown
            yield second, frame
        if last is None or start is None:
            raise UserError(f"{path}: there is no frame in it.")
        yield second + shown, last


def frames_at_rate(path: Path, framing: Framing) -> Iterator[np.ndarray]:
    """Yield what is seen at 0, 1 / `frames_per_second`, ... seconds until the video ends: uint8 (3, size, size) each, one in memory at a time.

    Raises `UserError` where the file cannot be read to its end, and where it ends before anything can be seen.
    """
    pixels = None
    for pixels in _at(path, framing, (number / framing.frames_per_second for number in count())):
        yield pixels
    if pixels is None:
        raise UserError(f"{path}: it lasts no longer than one frame, for too short a time to be seen. Give a longer clip.")


def frames_at(path: Path, framing: Framing, seconds: Sequence[float]) -> list[np.ndarray]:
    """Return what is seen at the given rising seconds, uint8 (3, size, size) each; behind the end of the video, its last frame."""
    return list(_at(path, framing, iter(seconds), behind=True))


def _at(path: Path, framing: Framing, seconds: Iterator[float], *, behind: bool = False) -> Iterator[np.ndarray]:
    """Yield what is seen at each of `seconds` until the video or they end; no frame is scaled that is not seen then, and none twice."""
    before: av.VideoFrame | None = None
    pixels: np.ndarray | None = None
    wanted = next(seconds, None)
    for second, frame in _decoded(path, shown_seconds=1 / framing.frames_per_second):
        while before is not None and wanted is not None and wanted < second - TOLERANCE_SECONDS:
            pixels = _array(before, framing) if pixels is None else pixels
            yield pixels
            wanted = next(seconds, None)
        before, pixels = frame, None
    while behind and before is not None and wanted is not None:
        pixels = _array(before, framing) if pixels is None else pixels
        yield pixels
        wanted = next(seconds, None)


def open_clip(path: Path, framing: Framing, *, seconds: float | None = None) -> Clip:
    """Return a file's frames at the framing's rate, the first `seconds` of it where given.

    Raises `UserError` as `frames_at_rate` does, and for `seconds` in which there is no frame.
    """
    rate = framing.frames_per_second
    most = None if seconds is None else round(seconds * rate)
    if most is not None and most < 1:
        raise UserError(f"{path}: there is no frame in {seconds:g} seconds at {rate:g} frames a second. Ask for {1 / rate:.3g} seconds or more.")
    frames = np.stack(list(islice(frames_at_rate(path, framing), most)))
    return Clip(frames, np.arange(len(frames)) / rate)


def encode(
    path: Path, frames: np.ndarray, *, frames_per_second: float, samples: np.ndarray | None = None, sample_rate_hz: int = 0, lossless: bool = False
) -> None:
    """Write frames uint8 (frames, 3, height, width), even sides, into an MP4 that says nothing of its making: H.264, which every browser plays.

    Sound (channels, samples) in [-1, 1] goes beside as AAC, or as FLAC where it is to be `lossless`.
    """
    rate = Fraction(frames_per_second).limit_denominator(1001)
    with av.open(path, "w", format="mp4") as file:
        pictures = file.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "veryfast"})
        pictures.height, pictures.width = frames.shape[2:]
        pictures.pix_fmt, pictures.thread_count = "yuv420p", 1
        track = None if samples is None else file.add_stream("flac" if lossless else "aac", rate=sample_rate_hz)
        if track is not None and samples is not None:
            track.layout = "mono" if len(samples) == 1 else "stereo"
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            file.mux(pictures.encode(frame))
        file.mux(pictures.encode(None))
        if track is not None and samples is not None:
            block = _audio_frame(np.clip(samples, -1, 1), lossless=lossless, layout=track.layout.name)
            block.sample_rate, block.time_base, block.pts = sample_rate_hz, Fraction(1, sample_rate_hz), 0
            file.mux(track.encode(block))
            file.mux(track.encode(None))


def _audio_frame(samples: np.ndarray, *, lossless: bool, layout: str) -> av.AudioFrame:
    """Return the samples as the encoder takes them: packed 16-bit numbers for FLAC, planes of floats for AAC."""
    if lossless:
        packed = np.round(samples * 32767).astype(np.int16).T.reshape(1, -1)
        return av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), format="s16", layout=layout)
    return av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, dtype=np.float32), format="fltp", layout=layout)


def show(clip: Clip, made_from: Path | None, path: Path) -> Path:
    """Write the pictures of a clip, without sound, as an MP4, and return the file: from the file that it was read from, where that is named."""
    step = float(np.diff(clip.seconds).mean()) if len(clip.seconds) > 1 else 1.0
    if made_from is None:
        frames, rate = clip.frames, 1 / step
    else:
        frames, rate = shown_frames(made_from, seconds=len(clip.frames) * step)
    file = path.with_name(f"{path.name}.mp4")
    with replacing(file) as beside:
        encode(beside, frames, frames_per_second=rate)
    return file


def shown_frames(path: Path, *, seconds: float) -> tuple[np.ndarray, float]:
    """Return the first seconds of a file, a frame at least, as frames uint8 (frames, 3, size, size), all of each picture, and frames a second: what is shown."""
    facts = video_facts(path)
    size, rate = min(SHOWN_SIZE, max(facts.size) // 2 * 2), min(SHOWN_RATE, facts.frames_per_second or Framing().frames_per_second)
    return open_clip(path, Framing(size=max(2, size), fit="pad", frames_per_second=rate), seconds=max(seconds, 1 / rate)).frames, rate


def _open(path: Path, framing: Framing) -> Clip:
    """Return what a model of this framing sees of a file."""
    return open_clip(path, framing, seconds=framing.clip_seconds)


def _to_inputs(clips: Sequence[Any], framing: Framing) -> Tensor:
    times = np.arange(framing.frames) / framing.frames_per_second
    batch = torch.from_numpy(np.stack([clip.at(clip.seconds[0] + times) for clip in clips]))
    if batch.shape[-2:] != (framing.size, framing.size):
        raise UserError(
            f"the model sees frames of {framing.size} x {framing.size} pixels, not {batch.shape[-1]} x {batch.shape[-2]}: open_clip(path, framing)."
        )
    return batch


def _to_outputs(made: Tensor, framing: Framing) -> list[Any]:
    return [Clip(frames.cpu().numpy(), np.arange(len(frames)) / framing.frames_per_second) for frames in made]


MODALITY = Modality("video", lambda value: isinstance(value, Clip), _to_inputs, _to_outputs, show, open=_open)
