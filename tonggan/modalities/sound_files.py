"""Sound written to files that say how it was made: WAV, FLAC, or beside the untouched pictures of a video."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from tonggan.errors import UserError
from tonggan.files import FULL, replacing
from tonggan.modalities.audio import Sound, resampled
from tonggan.modalities.provenance import MARK, Provenance, comment_text, provenance_in
from tonggan.modalities.video import first_second, opened, video_stream

SOUND_FORMATS = {".wav": "WAV", ".flac": "FLAC"}
VIDEO_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
CODECS = {"webm": "libopus"}
"""Sound codec by container; AAC in all others."""
ABOUT_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "comment")
"""What a file says of itself, not of what is in it: a copy says its own."""
ABOUT_A_TRACK = ("alpha_mode", "language", "title")
"""What is told of a track and true of its copy."""
BIT_RATE = 128_000
MOST_CHANNELS = {".wav": 1024, ".flac": 8}
"""Most channels by ending; 2 in videos."""


class UncopyableError(UserError):
    """What is in a clip cannot be copied into a container of another kind."""


def check_ending(path: Path) -> None:
    """Raise `UserError` where sound cannot be written into a file of this ending, or where it is the name of a folder."""
    if path.is_dir():
        raise UserError(f"{path} is a folder. Name a file.")
    known = {**SOUND_FORMATS, **VIDEO_FORMATS}
    if path.suffix.lower() not in known:
        raise UserError(f"{path}: sound is not written as '{path.suffix}'. Known: {', '.join(known)}.")


def most_channels(path: Path) -> int:
    """Return how many channels sound may have in a file of this ending."""
    return MOST_CHANNELS.get(path.suffix.lower(), 2)


def _comment(provenance: Provenance) -> str:
    return f"{MARK}\n{comment_text(provenance)}"


def save_sound(blocks: Iterable[Sound], path: Path, provenance: Provenance) -> None:
    """Write sound, block by block, as 16-bit WAV or FLAC."""
    check_ending(path)
    remaining = iter(blocks)
    first = next(remaining, None)
    if first is None:
        raise UserError(f"{path}: there is no sound to write.")
    kind, channels = SOUND_FORMATS[path.suffix.lower()], len(first.samples)
    with replacing(path) as beside:
        with soundfile.SoundFile(beside, "w", first.sample_rate_hz, channels, format=kind, subtype="PCM_16") as file:
            file.comment, file.software = _comment(provenance), provenance.software
            for block in chain([first], remaining):
                file.write(block.samples.T)
        _read_end(beside)


def _read_end(path: Path) -> None:
    """Read the last sample: a disk that has no room for FLAC's last block, written as the file is closed, is not told of."""
    with soundfile.SoundFile(path) as file:
        if file.frames:
            file.seek(-1, soundfile.SEEK_END)
            file.read(1)


def mux(video: Path, blocks: Iterable[Sound], path: Path, provenance: Provenance, *, keep_original: bool = False) -> None:
    """Write the pictures of `video`, copied packet by packet, with sound (of one or two channels) that begins when the first of them is shown.

    Sound at a rate that the codec does not know is resampled. With `keep_original` the sound tracks of `video` follow as further tracks, copied, too.
    Raises `UserError` where a container cannot hold them, and where there is no sound.
    """
    check_ending(path)
    remaining = iter(blocks)
    first = next(remaining, None)
    if first is None:
        raise UserError(f"{path}: there is no sound to write.")
    rate, channels = _known_rate(_container(path), first.sample_rate_hz), len(first.samples)
    # The disk's errors are told of by `replacing`, within, before `opened` takes them for the clip's.
    with opened(video) as source, replacing(path) as beside, av.open(beside, "w", format=_container(path)) as target:
        target.metadata.update({name: value for name, value in source.metadata.items() if name.lower() not in ABOUT_THE_FILE})
        target.metadata.update({"comment": _comment(provenance)})
        with _copying(video, source, path):
            encoder, copied = _tracks(source, target, video, keep_original=keep_original, sample_rate_hz=rate, channels=channels)
            target.start_encoding()
        sound = resampled(chain([first], remaining), rate)
        for packet in _interleaved(source, video, encoder, sound, copied):
            with _copying(video, source, path):
                target.mux(packet)


def check_copy(video: Path, path: Path, *, keep_original: bool, sample_rate_hz: int, channels: int) -> None:
    """Raise `UserError` where `mux` would for sound of this rate and so many channels: where `path` cannot hold what is in `video`. Nothing is written."""
    with opened(video) as source, _copying(video, source, path):
        _begin(source, video, _container(path), keep_original=keep_original, sample_rate_hz=sample_rate_hz, channels=channels)


def _begin(
    source: av.container.InputContainer, video: Path, kind: str, *, keep_original: bool, sample_rate_hz: int = 48_000, channels: int = 1
) -> None:
    """Write the head of a file into memory, which fails as the file would."""
    with av.open(io.BytesIO(), "w", format=kind) as target:
        rate = _known_rate(kind, sample_rate_hz)
        _tracks(source, target, video, keep_original=keep_original, sample_rate_hz=rate, channels=channels)
        target.start_encoding()


def _codec(kind: str) -> str:
    return CODECS.get(kind, "aac")


def _known_rate(kind: str, sample_rate_hz: int) -> int:
    """Return a sample rate that a container's codec takes: the given one, or the next above, or the highest."""
    rates = av.Codec(_codec(kind), "w").audio_rates or [sample_rate_hz]
    return min((rate for rate in rates if rate >= sample_rate_hz), default=max(rates))


def _container(path: Path) -> str:
    return VIDEO_FORMATS[path.suffix.lower()]


@contextmanager
def _copying(video: Path, source: av.container.InputContainer, path: Path) -> Iterator[None]:
    """Say in one line what a container cannot hold; what else goes wrong stays as it is."""
    try:
        yield
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, UserError) or getattr(error, "errno", None) in FULL:
            raise
        held = ", ".join(stream.codec_context.name for stream in source.streams if stream.codec_context)
        advice = " or ".join([*[ending for ending in (".mkv", ".mov") if _holds(source, ending, video)][:1], ".wav for the sound alone"])
        raise UncopyableError(f"{path}: what is in {video} ({held}) cannot be copied into {path.suffix} ({error}). Choose {advice}.") from error


def _holds(source: av.container.InputContainer, ending: str, video: Path) -> bool:
    """Return whether a container can hold all that is in a file."""
    try:
        _begin(source, video, VIDEO_FORMATS[ending], keep_original=True)
    except (av.FFmpegError, ValueError):
        return False
    return True


def _tracks(
    source: av.container.InputContainer,
    target: av.container.OutputContainer,
    video: Path,
    *,
    keep_original: bool,
    sample_rate_hz: int,
    channels: int,
) -> tuple[Any, dict[int, Any]]:
    """Begin the tracks of `target`: return the encoder of the sound, and by the number of a stream of `source` its copy, pictures first."""
    pictures = video_stream(source, video)
    copied: dict[int, Any] = {pictures.index: target.add_stream_from_template(pictures, opaque=True)}
    if pictures.codec_context.codec_tag == "hvc1" and target.format.name in ("mp4", "mov"):
        copied[pictures.index].codec_context.codec_tag = "hvc1"  # players of Apple refuse hev1, which the muxer would write
    encoder: Any = target.add_stream(_codec(target.format.name), rate=sample_rate_hz, bit_rate=BIT_RATE)
    encoder.layout = "mono" if channels == 1 else "stereo"
    for stream in source.streams.audio if keep_original else ():
        if stream.codec_context is None:
            raise UserError(f"{video}: its sound is of a codec that is not known here and cannot be kept. Leave out --keep-original.")
        copied[stream.index] = target.add_stream_from_template(stream, opaque=True)
    for index, copy in copied.items():
        copy.metadata.update({name: value for name, value in source.streams[index].metadata.items() if name.lower() in ABOUT_A_TRACK})
    return encoder, copied


def _interleaved(
    source: av.container.InputContainer, video: Path, encoder: Any, blocks: Iterator[Sound], copied: dict[int, Any]
) -> Iterator[av.Packet]:
    """Yield the packets to copy, each after the sound that is heard before it has been muxed."""
    pictures, start = video_stream(source, video), first_second(video)
    sound = _sound_packets(encoder, blocks, start=start)
    heard: float | None = start
    for packet in _timed(source.demux([source.streams[index] for index in copied]), pictures.index):
        while heard is not None and heard <= float((packet.dts or 0) * packet.time_base):
            heard = next(sound, None)
        packet.stream = copied[packet.stream.index]
        yield packet
    for _ in sound:
        pass


def _timed(packets: Iterable[av.Packet], pictures: int) -> Iterator[av.Packet]:
    """Yield packets with the times of decoding that Matroska does not tell of the first pictures: earlier by their own length each."""
    waiting: list[av.Packet] = []
    for packet in packets:
        if packet.size == 0:  # the end of a stream
            continue
        waiting.append(packet)
        if packet.stream.index != pictures or packet.dts is None:
            continue
        due = packet.dts
        for each in reversed([each for each in waiting[:-1] if each.stream.index == pictures]):
            due -= each.duration or 1
            each.dts = due
        yield from waiting
        waiting = []
    yield from waiting


def _sound_packets(encoder: Any, blocks: Iterator[Sound], *, start: float) -> Iterator[float]:
    """Encode and mux block after block, and yield the second that is reached."""
    done = round(start * encoder.sample_rate)
    for block in blocks:
        if not block.samples.size:  # a resampler's first, which it keeps
            continue
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.samples, dtype=np.float32), format="fltp", layout=encoder.layout.name)
        frame.sample_rate, frame.time_base, frame.pts = block.sample_rate_hz, Fraction(1, block.sample_rate_hz), done
        encoder.container.mux(encoder.encode(frame))
        done += block.samples.shape[1]
        yield done / block.sample_rate_hz
    encoder.container.mux(encoder.encode(None))


def read_sound_provenance(path: Path) -> Provenance | None:
    """Return what we wrote into a sound or a video, or None where it is not ours; raises `UserError` where the file cannot be read."""
    return provenance_in(_comment_in(path))


def _comment_in(path: Path) -> str:
    with opened(path) as container:
        told = {name.lower(): value for holder in (container, *container.streams) for name, value in holder.metadata.items()}
    return told.get("comment", "")


def inspect_sound_file(path: Path) -> dict[str, Any]:
    """Return what a sound or video file says of itself: streams, seconds, the mark of trained algorithms, our provenance."""
    with opened(path) as container:
        named = ((stream.type, stream.codec_context) for stream in container.streams if stream.type in ("video", "audio"))
        streams = [f"{kind} {'of an unknown codec' if codec is None else codec.name}" for kind, codec in named]
        facts: dict[str, Any] = {"file": str(path), "format": container.format.name, "streams": streams}
        facts["seconds"] = round(float((container.duration or 0) / av.time_base), 3)
    comment = _comment_in(path)
    provenance = provenance_in(comment)
    return facts | {"made_by_trained_algorithm": MARK in comment, "provenance": None if provenance is None else asdict(provenance)}
