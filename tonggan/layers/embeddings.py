"""Embeddings of numbers."""

import math

import torch
from torch import Tensor, nn


def sinusoids(values: Tensor, width: int, *, longest: float = 10.0) -> Tensor:
    """Return (batch, width) sines and cosines of `values` (batch,) at frequencies from 2 pi / `longest` up, geometrically spaced."""
    frequencies = torch.exp(torch.linspace(math.log(2 * math.pi / longest), math.log(2 * math.pi * 100), width // 2, device=values.device))
    angles = values.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """Times in [0, 1] -> (batch, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, times: Tensor) -> Tensor:
        """(batch,) -> (batch, width)."""
        return self.layers(sinusoids(times, 256))
