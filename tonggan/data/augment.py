"""Augmentation of training pictures, with labels that say what was done, so that it does not leak into what is drawn.

The scheme of EDM (Karras et al. 2022, arXiv:2206.00364, appendix F.2): each kind of change is applied with one probability, and its parameters go to the
decoder as labels, which are zero in drawing. What is done to a sample is a function of (seed, position) alone, as everything that the loader does.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tonggan.errors import UserError

LABELS = ("flip", "shift x", "shift y", "scale", "rotate", "brightness", "saturation")
Draw = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Augmentation:
    """How pictures are changed.

    Attributes:
        probability: of each kind of change, for each picture.
        flip: whether left and right may change places.
        shift: standard deviation of the shift, as a share of the side.
        scale: standard deviation of the size, in octaves.
        rotate: largest angle in degrees.
        brightness: standard deviation of what is added, in [-1, 1] units.
        saturation: standard deviation of the factor of colour, in octaves.
        background: what is shown where the picture ends: `white`, or `mirror`.
    """

    probability: float = 0.12
    flip: bool = False
    shift: float = 0.0
    scale: float = 0.0
    rotate: float = 0.0
    brightness: float = 0.0
    saturation: float = 0.0
    background: str = "white"

    def labels(self, draws: Draw) -> Tensor:
        """Return what is done, (batch, `len(LABELS)`), from uniform `draws` (batch, 2 * `len(LABELS)`) in (0, 1): zero where nothing is."""
        strengths = np.asarray([float(self.flip), self.shift, self.shift, self.scale, self.rotate / 180, self.brightness, self.saturation])
        chosen, values = draws[:, : len(LABELS)] < self.probability, draws[:, len(LABELS) :]
        normal = np.vectorize(NormalDist().inv_cdf)(values.clip(1e-6, 1 - 1e-6))
        normal[:, 0], normal[:, 4] = 1.0, 2 * values[:, 4] - 1
        return torch.from_numpy(chosen * strengths * normal).float()

    def __call__(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """Return pictures (batch, 3, size, size) in [-1, 1] changed as `labels` say; a picture with labels of zero is returned as it is."""
        changed = pictures.clone()
        for index in torch.nonzero(labels.any(1)).flatten().tolist():
            changed[index] = self._changed(pictures[index], labels[index].tolist())
        return changed

    def of_clips(self, frames: Tensor, labels: Tensor) -> Tensor:
        """Return clips uint8 (batch, frames, 3, size, size), every frame of those labelled so with left and right in each other's place.

        What is heard stays as it was, for it is of one channel. Raises `UserError` where another kind of change is asked for.
        """
        if self.shift or self.scale or self.rotate or self.brightness or self.saturation:
            raise UserError("data.augment: of clips, left and right alone can be changed (flip).")
        flipped = labels[:, 0] > 0
        return torch.where(flipped[:, None, None, None, None], frames.flip(-1), frames)

    def _changed(self, picture: Tensor, label: list[float]) -> Tensor:
        functional = _torchvision()
        flip, shift_x, shift_y, scale, rotate, brightness, saturation = label
        size = picture.shape[-1]
        if flip:
            picture = functional.horizontal_flip(picture)
        if shift_x or shift_y or scale or rotate:
            margin = size - 1 if self.background == "mirror" else 0
            padded = functional.pad(picture, [margin] * 4, padding_mode="reflect") if margin else picture
            moved = functional.affine(
                padded,
                angle=180 * rotate,
                translate=[round(shift_x * size), round(shift_y * size)],
                scale=2.0**scale,
                shear=[0.0, 0.0],
                interpolation=functional.InterpolationMode.BILINEAR,
                fill=[1.0, 1.0, 1.0],
            )
            picture = functional.center_crop(moved, [size, size])
        if saturation:
            grey = picture.mean(0, keepdim=True)
            picture = grey + (picture - grey) * 2.0**saturation
        return (picture + brightness).clamp(-1, 1) if brightness or saturation else picture


def _torchvision() -> Any:
    try:
        from torchvision.transforms.v2 import functional
    except ImportError as error:
        raise UserError("data.augment needs torchvision: pip install torchvision (the extra 'augmentation').") from error
    return functional
