"""How clear pictures are, without a reference: sharpness, blocks of compression, ringing beside edges. Each is read against the same of real pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from tonggan.evaluation.intervals import Numbers

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601, as in JPEG."""
BLUR_WIDTH = 11
"""Pixels of the low-pass filter that sharpness is measured by."""
BLOCK = 8
"""Pixels a side, of JPEG's blocks."""
STRONG_EDGE = 32.0
"""Grey levels a pixel from which on a step is an edge that ringing is looked for beside."""
RING_INNER, RING_OUTER = 2, 5
"""Pixels from an edge between which ringing is looked for."""
FAINT = 0.1
"""Grey levels that are added above and below a ratio, so that flat pictures give 1."""


@dataclass(frozen=True)
class Clarity:
    """Figures of each picture, (N,) each."""

    sharpness: Numbers
    """1 - the blur effect, in [0, 1]; 0 for a picture without a step."""
    blockiness: Numbers
    """Mean step across the borders of 8 x 8 blocks over the mean step elsewhere: 1 without blocks."""
    ringing: Numbers
    """Mean curvature, in grey levels, of what lies 3 to 5 pixels beside strong edges and is no edge itself; 0 where there is nothing of the kind."""


def clarity(pictures: Sequence[Image.Image] | npt.NDArray[np.uint8]) -> Clarity:
    """Return the figures of pictures uint8 (N, 3, height, width) in [0, 255] or PIL, of 16 pixels a side or more."""
    found = np.asarray([_of_one(luminance(picture)) for picture in pictures], dtype=np.float64).reshape(-1, 3)
    return Clarity(found[:, 0], found[:, 1], found[:, 2])


def luminance(picture: Image.Image | npt.NDArray[np.uint8]) -> Numbers:
    """Return (height, width) luminance in [0, 255] of a picture, PIL or uint8 (3, height, width)."""
    pixels = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0) if isinstance(picture, Image.Image) else picture
    return np.tensordot(LUMA, pixels.astype(np.float64), axes=1)


def _of_one(grey: Numbers) -> tuple[float, float, float]:
    return 1 - blur_effect(grey), blockiness(grey), ringing(grey)


def blur_effect(grey: Numbers) -> float:
    """Return the blur effect in [0, 1] of (height, width): how little a low-pass filter takes from the steps (Crete et al. 2007, doi 10.1117/12.702790).

    The same as scikit-image's `blur_effect`; 1 for a picture without a step, where that is not defined.
    """
    found = []
    for axis in (0, 1):
        sharp, blurred = _steps(grey, axis), _steps(_averaged(grey, axis), axis)
        inside = (slice(2, -1), slice(2, -1))
        whole = sharp[inside].sum()
        lost = np.maximum(0, sharp - blurred)[inside].sum()
        found.append(float(abs(whole - lost) / whole) if whole > 0 else None)
    known = [each for each in found if each is not None]
    return max(known) if known else 1.0


def _averaged(grey: Numbers, axis: int) -> Numbers:
    sides = [(0, 0), (0, 0)]
    sides[axis] = (BLUR_WIDTH // 2 + 1, BLUR_WIDTH // 2)
    total = np.pad(grey, sides, mode="symmetric").cumsum(axis=axis)
    length = total.shape[axis]
    return (total.take(range(BLUR_WIDTH, length), axis) - total.take(range(length - BLUR_WIDTH), axis)) / BLUR_WIDTH


def _steps(grey: Numbers, axis: int) -> Numbers:
    """Return the absolute Sobel derivative along `axis`, in grey levels a pixel."""
    padded = np.pad(grey, 1, mode="symmetric")
    across = 1 - axis
    length = padded.shape[across]
    smooth = sum(weight * padded.take(range(start, length - 2 + start), across) for start, weight in enumerate((0.25, 0.5, 0.25)))
    assert isinstance(smooth, np.ndarray)
    length = smooth.shape[axis]
    return np.abs(smooth.take(range(2, length), axis) - smooth.take(range(length - 2), axis)) / 2


def blockiness(grey: Numbers) -> float:
    """Return the mean step across the borders of 8 x 8 blocks over that elsewhere: the features B and A of Wang, Sheikh & Bovik 2002 as a ratio."""
    across, elsewhere = [], []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis))
        border = np.arange(steps.shape[axis]) % BLOCK == BLOCK - 1
        across.append(steps.compress(border, axis).ravel())
        elsewhere.append(steps.compress(~border, axis).ravel())
    return float((np.concatenate(across).mean() + FAINT) / (np.concatenate(elsewhere).mean() + FAINT))


def ringing(grey: Numbers) -> float:
    """Return the mean curvature of what lies beside strong edges and is none: half the second difference, in grey levels, the mean of both axes.

    Overshoot and ripples that compression, and generators that learned from compressed pictures, leave around contours; clean drawings have none.
    """
    edges = np.hypot(_steps(grey, 0), _steps(grey, 1)) > STRONG_EDGE
    beside = _within(edges, RING_OUTER) & ~_within(edges, RING_INNER)
    if not beside.any():
        return 0.0
    padded = np.pad(grey, 1, mode="symmetric")
    down = np.abs(padded[:-2, 1:-1] + padded[2:, 1:-1] - 2 * grey)
    right = np.abs(padded[1:-1, :-2] + padded[1:-1, 2:] - 2 * grey)
    return float((down + right)[beside].mean() / 4)


def _within(marked: npt.NDArray[np.bool_], pixels: int) -> npt.NDArray[np.bool_]:
    """Return where a marked pixel is at most so many pixels away, in a square."""
    for axis in (0, 1):
        sides = [(0, 0), (0, 0)]
        sides[axis] = (pixels, pixels)
        padded = np.pad(marked, sides)
        length = marked.shape[axis]
        marked = np.any([padded.take(range(start, start + length), axis) for start in range(2 * pixels + 1)], axis=0)
    return marked
