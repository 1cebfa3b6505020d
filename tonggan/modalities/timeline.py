"""Timelines: key frames over waveform and spectrogram, with the times of events, as one picture to be looked at."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from tonggan.modalities.spectrogram import FLOOR, Mel, log_mel

PAPER, INK, WAVE, EVENT = (255, 255, 255), (40, 40, 46), (52, 81, 178), (214, 69, 48)
WAVE_HEIGHT, SPECTRUM_HEIGHT, GAP, MARGIN = 56, 128, 6, 12
COLOURS = np.asarray([(13, 10, 40), (88, 20, 110), (187, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=float)
"""Dark to bright with rising lightness (stations of the map "inferno")."""
PIECE_SECONDS = 20.0
"""A spectrogram is computed in pieces of about so many seconds, so that memory does not grow with the sound."""
LOUDEST = 1.0
"""Logarithm of the mel magnitude that is drawn brightest."""


def colour(values: np.ndarray) -> np.ndarray:
    """Return uint8 (..., 3) for values (...) in [0, 1]."""
    place = np.clip(values, 0, 1) * (len(COLOURS) - 1)
    low = np.minimum(place.astype(int), len(COLOURS) - 2)
    share = (place - low)[..., None]
    return (COLOURS[low] * (1 - share) + COLOURS[low + 1] * share).astype(np.uint8)


def _spectrogram(waveform: Tensor, sample_rate_hz: int, width: int) -> Image.Image:
    whole = Image.new("RGB", (width, SPECTRUM_HEIGHT))
    pieces = max(1, min(width, round(len(waveform) / sample_rate_hz / PIECE_SECONDS)))
    for piece in range(pieces):
        left, right = (width * place // pieces for place in (piece, piece + 1))
        part = waveform[len(waveform) * left // width : len(waveform) * right // width]
        levels = log_mel(part, Mel(sample_rate_hz=sample_rate_hz)).numpy()[::-1]
        shown = Image.fromarray(colour((levels - np.log(FLOOR)) / (LOUDEST - np.log(FLOOR))))
        whole.paste(shown.resize((right - left, SPECTRUM_HEIGHT), Image.Resampling.BILINEAR), (left, 0))
    return whole


def _draw_wave(pen: ImageDraw.ImageDraw, waveform: np.ndarray, *, left: int, top: int, width: int) -> None:
    middle = top + WAVE_HEIGHT // 2
    for column, part in enumerate(np.array_split(waveform, width)):
        if len(part):
            high, low = (round(float(value) * WAVE_HEIGHT / 2) for value in (part.max(), part.min()))
            pen.line([(left + column, middle - high), (left + column, middle - low)], fill=WAVE)


def _strip(waveform: Tensor, sample_rate_hz: int, width: int) -> Image.Image:
    strip = Image.new("RGB", (width, WAVE_HEIGHT + SPECTRUM_HEIGHT), PAPER)
    _draw_wave(ImageDraw.Draw(strip), waveform.numpy(), left=0, top=0, width=width)
    strip.paste(_spectrogram(waveform, sample_rate_hz, width), (0, WAVE_HEIGHT))
    return strip


def sound_sheet(waveforms: Tensor, sample_rate_hz: int, *, columns: int = 2, width: int = 480) -> Image.Image:
    """Return the waveforms (batch, samples) and spectrograms of a batch, side by side."""
    rows, height = -(-len(waveforms) // columns), WAVE_HEIGHT + SPECTRUM_HEIGHT + GAP
    sheet = Image.new("RGB", (2 * MARGIN + min(columns, len(waveforms)) * (width + GAP), 2 * MARGIN + rows * height), PAPER)
    for number, waveform in enumerate(waveforms):
        sheet.paste(_strip(waveform, sample_rate_hz, width), (MARGIN + number % columns * (width + GAP), MARGIN + number // columns * height))
    return sheet


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return pictures of one width, one below the other."""
    if len(pictures) == 1:
        return pictures[0]
    sheet = Image.new("RGB", (pictures[0].width, sum(picture.height for picture in pictures)), PAPER)
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def timeline(
    frames: Sequence[np.ndarray],
    waveforms: Sequence[np.ndarray],
    sample_rate_hz: int,
    *,
    events: Sequence[float] = (),
    marks: Sequence[Sequence[float]] = (),
    begin: float = 0.0,
    width: int = 960,
) -> Image.Image:
    """Return key frames, uint8 (3, height, width) each at even times over the whole, none where nothing is seen, above each waveform (samples,) and its spectrogram.

    `events` are seconds at which a line is drawn through all, `marks` those of each waveform, drawn through its own strip (of the first, through the key
    frames, too); a scale of seconds, which counts from `begin`, stands below.
    """
    side = width // len(frames) if frames else 0
    strips = [_strip(torch.from_numpy(np.asarray(waveform, dtype=np.float32)), sample_rate_hz, width) for waveform in waveforms]
    bottom = MARGIN + side + sum(GAP + strip.height for strip in strips)
    sheet = Image.new("RGB", (width + 2 * MARGIN, bottom + 24), PAPER)
    for number, frame in enumerate(frames):
        picture = Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0))).resize((side - 2, side - 2), Image.Resampling.BICUBIC)
        sheet.paste(picture, (MARGIN + number * side + 1, MARGIN + 1))
    lines, top = [(event, MARGIN, bottom) for event in events], MARGIN + side
    for number, strip in enumerate(strips):
        sheet.paste(strip, (MARGIN, top + GAP))
        own = marks[number] if marks else ()
        lines += [(mark, top + GAP if number else MARGIN, top + GAP + strip.height) for mark in own]
        top += GAP + strip.height
    pen, seconds = ImageDraw.Draw(sheet), len(waveforms[0]) / sample_rate_hz
    for second, begins, ends in lines:
        x = MARGIN + round(second / seconds * width)
        pen.line([(x, begins), (x, ends)], fill=EVENT)
    step = next(step for step in (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 3600) if seconds / step <= 16)
    for number in range(math.ceil(begin / step), int((begin + seconds) / step) + 1):
        x = MARGIN + round((number * step - begin) / seconds * width)
        pen.line([(x, bottom), (x, bottom + 4)], fill=INK)
        pen.text((x, bottom + 6), f"{number * step:g} s", fill=INK, anchor="ma")
    return sheet
