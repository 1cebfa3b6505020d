"""Flat colours made flat: the bilateral filter, which levels what differs little and keeps edges."""

import torch
from torch import Tensor
from torch.nn import functional as F

RADIUS = 4
PASSES = 2


def bilateral(pictures: Tensor, spread: float, *, radius: int = RADIUS, passes: int = PASSES) -> Tensor:
    """Return pictures (batch, channels, height, width) with every pixel the mean of its neighbours, those of its own colour above all.

    A neighbour's weight is exp(-(colour distance)^2 / (2 spread^2)) exp(-(distance)^2 / (2 radius^2)) (Tomasi & Manduchi 1998, "Bilateral filtering for
    gray and color images", equation 5), within `radius` pixels; `spread` in the unit of the values. `passes` times, each on what the last one left.
    """
    height, width = pictures.shape[-2:]
    steps = range(2 * radius + 1)
    for _ in range(passes):
        padded = F.pad(pictures, [radius] * 4, mode="replicate")
        total, weights = torch.zeros_like(pictures), torch.zeros_like(pictures[:, :1])
        for down in steps:
            for right in steps:
                neighbours = padded[..., down : down + height, right : right + width]
                colour = ((neighbours - pictures) ** 2).sum(1, keepdim=True) / (2 * spread**2)
                place = ((down - radius) ** 2 + (right - radius) ** 2) / (2 * radius**2)
                weight = torch.exp(-colour - place)
                total.addcmul_(weight, neighbours)
                weights += weight
        pictures = total / weights
    return pictures
