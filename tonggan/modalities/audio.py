"""Sounds: file <-> samples; any container and codec that PyAV's FFmpeg reads, WAV and FLAC written by libsndfile, resampled once by soxr.

In a file with a video, time 0 is when its first frame is shown: sound that starts later is preceded by silence, sound from before is left out.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from tonggan.errors import UserError
from tonggan.files import replacing
from tonggan.modalities import Framing, Modality
from tonggan.modalities.spectrogram import Mel, log_mel
from tonggan.modalities.timeline import sound_sheet
from tonggan.modalities.video import ENDINGS as VIDEO_ENDINGS
from tonggan.modalities.video import encode, first_second, has_pictures, opened, shown_frames

ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma")
"""File endings by which sounds are looked for in a folder."""
GAP_SECONDS = 0.02
"""Time stamps that leave out more are a gap, filled with silence; less is rounding."""
AUDIBLE = math.log(1e-3)
"""Logarithm of the mel magnitude, 60 dB under a full sine, below which sounds are not compared."""
MEMORISED = 90.0
"""Correlation of log-mel spectrograms in percent from which a sound counts as learned by heart."""


@dataclass(frozen=True)
class Sound:
    """Samples float32 (channels, samples) in [-1, 1] at a sample rate in Hz."""

    samples: np.ndarray
    sample_rate_hz: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2:
            raise ValueError(f"a sound has samples (channels, samples), not {self.samples.shape}")

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.sample_rate_hz

    def mono(self) -> np.ndarray:
        """Return the mean of the channels (samples,)."""
        return self.samples.mean(0)

    def resampled(self, sample_rate_hz: int) -> "Sound":
        """Return this sound at another sample rate."""
        if sample_rate_hz == self.sample_rate_hz:
            return self
        found = soxr.resample(self.samples.T, self.sample_rate_hz, sample_rate_hz)
        return Sound(np.ascontiguousarray(found.T, dtype=np.float32), sample_rate_hz)


def _even(container: av.container.InputContainer, *, most_channels: int | None) -> Iterator[av.AudioFrame]:
    """Yield the first sound track's frames as floats, in the layout and at the rate that it begins with, whatever it goes on with."""
    stream = container.streams.audio[0]
    folded = most_channels is not None and stream.channels > most_channels
    layout, rate = "stereo" if folded else stream.layout.name, stream.rate
    came: tuple[str, str, int] | None = None
    for frame in container.decode(stream):
        comes = (frame.format.name, frame.layout.name, frame.sample_rate)
        if comes != came:  # broadcasts go from stereo to mono and back
            convert, came = av.AudioResampler(format="fltp", layout=layout, rate=rate), comes
        yield from convert.resample(frame)


def _blocks(container: av.container.InputContainer, *, start: float | None, most_channels: int | None) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (float32 (channels, samples), sample rate) on the clock of a video that begins at second `start` of the container's.

    Without a video (None) the sound begins where it begins: an MP3 tells what its encoder put before it as a late start.
    """
    done, rate = 0, int(container.streams.audio[0].rate)
    for part in _even(container, most_channels=most_channels):
        block = part.to_ndarray()
        if block.size:
            start = max(0.0, part.time or 0.0) if start is None else start
            due = done if part.time is None else round((part.time - start) * rate)
            if due - done > GAP_SECONDS * rate or (done == 0 and due > 0):
                for begin in range(done, due, rate):  # a second at a time: a gap may be long
                    yield np.zeros((len(block), min(rate, due - begin)), dtype=np.float32), rate
                done = due
            elif due < done and done == 0:
                block = block[:, -due:]  # from before the first frame
            done += block.shape[1]
            yield block, rate


def sound_blocks(path: Path, *, sample_rate_hz: int | None = None, most_channels: int | None = None) -> Iterator[Sound]:
    """Yield the first sound track piece by piece, resampled where a rate is given; nothing where there is none, or nothing in it.

    A track of more than `most_channels` (2 or more) is folded to stereo. Raises `UserError` where the file cannot be read to its end.
    """
    with opened(path) as container:
        if not container.streams.audio:
            return
        if container.streams.audio[0].codec_context is None:
            raise UserError(f"{path}: its sound is of a codec that is not known here. Convert it, or give it a track of AAC, FLAC or WAV.")
        start = first_second(path) if has_pictures(container) else None
        blocks = (Sound(_finite(block, path), rate) for block, rate in _blocks(container, start=start, most_channels=most_channels))
        yield from blocks if sample_rate_hz is None else resampled(blocks, sample_rate_hz)


def _finite(samples: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: samples of its sound are no numbers (NaN or infinite). Write it again from its source.")
    return samples


def resampled(blocks: Iterable[Sound], sample_rate_hz: int) -> Iterator[Sound]:
    """Yield the blocks of a sound at another sample rate, without seams."""
    stream: soxr.ResampleStream | None = None
    channels = 1
    for block in blocks:
        if block.sample_rate_hz == sample_rate_hz:
            yield block
            continue
        channels = len(block.samples)
        stream = stream or soxr.ResampleStream(block.sample_rate_hz, sample_rate_hz, channels, dtype="float32")
        yield Sound(stream.resample_chunk(np.ascontiguousarray(block.samples.T)).T, sample_rate_hz)
    if stream is not None:
        yield Sound(stream.resample_chunk(np.zeros((0, channels), dtype=np.float32), last=True).T, sample_rate_hz)


def open_beginning(path: Path, seconds: float) -> tuple[Sound, float]:
    """Return what the first sound track of a file begins with, so many seconds or a little more, and how long it is; never more than that in memory.

    Raises `UserError` as `open_sound` does.
    """
    kept: list[np.ndarray] = []
    length, rate = 0, 1
    for block in sound_blocks(path):
        rate = block.sample_rate_hz
        if length < seconds * rate:
            kept.append(block.samples)
        length += block.samples.shape[1]
    if not kept:
        raise UserError(f"{path}: there is no sound in it.")
    return Sound(np.concatenate(kept, axis=1), rate), length / rate


def open_sound(path: Path, *, sample_rate_hz: int | None = None) -> Sound:
    """Return the first sound track of a file; raises `UserError` where there is none or it cannot be read."""
    blocks = list(sound_blocks(path, sample_rate_hz=sample_rate_hz))
    if not blocks:
        raise UserError(f"{path}: there is no sound in it.")
    return Sound(np.concatenate([block.samples for block in blocks], axis=1), blocks[0].sample_rate_hz)


def fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """Return samples (..., samples) cut, or padded with silence, to a length."""
    missing = max(0, length - samples.shape[-1])
    return np.pad(samples[..., :length], [*[(0, 0)] * (samples.ndim - 1), (0, missing)])


def _to_inputs(sounds: Sequence[Any], framing: Framing) -> Tensor:
    waveforms = [fitted(sound.resampled(framing.sample_rate_hz).mono(), framing.samples) for sound in sounds]
    return torch.from_numpy(np.stack(waveforms)).float()


def _to_outputs(made: Tensor, framing: Framing) -> list[Any]:
    return [Sound(waveform.float().cpu().numpy()[None], framing.sample_rate_hz) for waveform in made]


def preview(made: Tensor, path: Path, framing: Framing) -> None:
    """Write waveforms (batch, samples) and their spectrograms as one PNG; `path` comes without the ending."""
    sheet = sound_sheet(made.detach().float().cpu(), framing.sample_rate_hz)
    with replacing(path.with_name(f"{path.name}.png")) as beside:
        sheet.save(beside, format="PNG")


def _closeness(made: Tensor, truth: Tensor) -> tuple[float, str, float]:
    pairs = (log_mel(each.float().cpu(), Mel()).clamp_min(AUDIBLE).flatten(1) for each in (made, truth))
    one, other = (each - each.mean(1, keepdim=True) for each in pairs)
    correlation = torch.nn.functional.cosine_similarity(one, other).mean()
    return 100 * float(correlation), "% correlation of log-mel spectrograms", MEMORISED


def _open(path: Path, framing: Framing) -> Sound:
    return open_sound(path)


def show(sound: Sound, made_from: Path | None, path: Path) -> Path:
    """Write a sound as WAV, or, where it was made from a clip, as an MP4 of as much of that clip: they are judged together. Return the file."""
    if made_from is None or made_from.suffix.lower() not in VIDEO_ENDINGS:
        file = path.with_name(f"{path.name}.wav")
        with replacing(file) as beside:
            soundfile.write(beside, np.clip(sound.samples.T, -1, 1), sound.sample_rate_hz, format="WAV", subtype="PCM_16")
        return file
    frames, rate = shown_frames(made_from, seconds=sound.seconds)
    file = path.with_name(f"{path.name}.mp4")
    with replacing(file) as beside:
        encode(beside, frames, frames_per_second=rate, samples=sound.samples, sample_rate_hz=sound.sample_rate_hz)
    return file


MODALITY = Modality("audio", lambda value: isinstance(value, Sound), _to_inputs, _to_outputs, show, preview, _closeness, open=_open)
