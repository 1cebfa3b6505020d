"""Augmentation of all that a discriminator sees, real or made, differentiable, so that few pictures are not learned by heart and nothing leaks.

What is made must look real after the changes, and each is left out for some share of the pictures (ADA) or can be told back (DiffAugment); so the generator
gains nothing by drawing changed pictures. ADA: Karras et al. 2020, arXiv:2006.06676 (appendix B, without its filters); DiffAugment: Zhao et al. 2020,
arXiv:2006.10738.
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.strict import Count, Strict

Matrices = Tensor
"""(batch, 3, 3): maps of the plane (homogeneous), or of colours."""


class AugmentConfig(Strict):
    """How pictures are changed before they are judged."""

    kind: Literal["none", "ada", "diffaugment"] = "none"
    target: float = Field(default=0.6, gt=0, lt=1)
    """ADA: how sure of real outputs the discriminator may be (mean sign of its verdicts) before more is changed."""
    samples: Count = 100_000
    """ADA: samples in which the probability could go from 0 to 1 (500,000 in the paper, whose runs see 25 million)."""
    most: float = Field(default=0.8, gt=0, lt=1)
    """ADA: the greatest probability; what is always changed would leak."""


class Augment(nn.Module):
    """Pictures (batch, 3, size, size) in [-1, 1] -> changed ones; ADA's probability and running sign are buffers, so that a resumed run goes on with them."""

    probability: Tensor
    sign: Tensor

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("probability", torch.full((), 1.0 if config.kind == "diffaugment" else 0.0))
        self.register_buffer("sign", torch.zeros(()))

    def forward(self, pictures: Tensor, randomness: torch.Generator) -> Tensor:
        """Change each picture by draws of its own from the CPU generator `randomness`, in float32: bfloat16 has no place for a quarter of a pixel."""
        with torch.autocast(pictures.device.type, enabled=False):
            if self.config.kind == "diffaugment":
                return diffaugment(pictures.float(), randomness)
            probability = float(self.probability)
            return ada(pictures.float(), probability, randomness) if self.config.kind == "ada" and probability > 0 else pictures

    @torch.no_grad()
    def adapt(self, certainty: Tensor) -> None:
        """Move the probability up where the discriminator is surer of real outputs than `target`, down where less; `certainty` (batch,)."""
        sign = certainty.sign().mean()
        if self.config.kind != "ada" or not torch.isfinite(certainty).all():
            return
        self.sign.lerp_(sign.to(self.sign), 0.1)
        step = math.copysign(len(certainty) / self.config.samples, float(self.sign) - self.config.target)
        self.probability.add_(step).clamp_(0, self.config.most)


class Draws:
    """Random numbers a picture, from the CPU generator alone."""

    def __init__(self, pictures: Tensor, probability: float, randomness: torch.Generator) -> None:
        self.count, self.device = len(pictures), pictures.device
        self.probability, self.randomness = probability, randomness

    def uniform(self, low: float, high: float, *, probability: float | None = None) -> Tensor:
        """Return (batch,) numbers, uniform with the probability (ours unless given), else 0."""
        return self._chosen(low + (high - low) * torch.rand(self.count, generator=self.randomness), probability)

    def normal(self, spread: float) -> Tensor:
        """Return (batch,) numbers, normal with the probability, else 0."""
        return self._chosen(spread * torch.randn(self.count, generator=self.randomness))

    def move(self, largest: float, size: int) -> Matrices:
        """Return shifts by whole pixels of up to `largest` of the side, along both axes with the probability, else none."""
        pixels = (size * largest * (2 * torch.rand(self.count, 2, generator=self.randomness) - 1)).round()
        chosen = torch.rand(self.count, generator=self.randomness) < self.probability
        return shift(*(2 / size * pixels * chosen[:, None]).to(self.device).unbind(1))

    def moved(self, spread: float) -> Matrices:
        """Return shifts by normal shares of the side, along both axes with the probability, else none."""
        shares = spread * torch.randn(self.count, 2, generator=self.randomness)
        chosen = torch.rand(self.count, generator=self.randomness) < self.probability
        return shift(*(2 * shares * chosen[:, None]).to(self.device).unbind(1))

    def whole(self, choices: int) -> Tensor:
        """Return (batch,) whole numbers below `choices` with the probability, else 0."""
        return self._chosen(torch.randint(choices, (self.count,), generator=self.randomness).float())

    def _chosen(self, values: Tensor, probability: float | None = None) -> Tensor:
        chosen = torch.rand(self.count, generator=self.randomness) < (self.probability if probability is None else probability)
        return torch.where(chosen, values, 0.0).to(self.device)


def ada(pictures: Tensor, probability: float, randomness: torch.Generator) -> Tensor:
    """Return pictures changed by ADA's pixel blitting, geometry and colour, each kind for a share `probability` of them."""
    draws = Draws(pictures, probability, randomness)
    size = pictures.shape[-1]
    flip = 1 - 2 * draws.whole(2)
    one = torch.ones_like(flip)
    quarter = rotation(draws.whole(4) * (math.pi / 2))
    whole = draws.move(0.125, size)
    larger = 2 ** draws.normal(0.2)
    # A picture is turned twice, and stays as it was in the same share as with every other change.
    turned = 1 - (1 - probability) ** 0.5
    before, wider = rotation(draws.uniform(-math.pi, math.pi, probability=turned)), 2 ** draws.normal(0.2)
    after, moved = rotation(draws.uniform(-math.pi, math.pi, probability=turned)), draws.moved(0.125)
    plane = scaling(flip, one) @ quarter @ whole @ scaling(larger, larger) @ before @ scaling(wider, 1 / wider) @ after @ moved
    pictures = resampled(pictures, plane, padding="reflection")
    # Brightness, contrast, luma flip, hue, saturation, one after the other; greys are turned by the flip alone.
    brightness, contrast, turned_over = draws.normal(0.2), 2 ** draws.normal(0.5), draws.whole(2)
    colour = saturation(2 ** draws.normal(1.0)) @ hue(draws.uniform(-math.pi, math.pi)) @ luma_flip(turned_over)
    return recoloured(pictures, colour * contrast[:, None, None], brightness * contrast * (1 - 2 * turned_over))


def diffaugment(pictures: Tensor, randomness: torch.Generator) -> Tensor:
    """Return pictures all of which are changed in colour, moved by up to an eighth of the side, and cut out of half a side squared, as the paper does."""
    draws = Draws(pictures, 1.0, randomness)
    size = pictures.shape[-1]
    brightness, factor, contrast = draws.uniform(-0.5, 0.5), draws.uniform(0, 2), draws.uniform(0.5, 1.5)
    mean = pictures.mean((1, 2, 3)) + brightness
    # Contrast leaves the mean of the picture where it was.
    pictures = recoloured(pictures, saturation(factor) * contrast[:, None, None], contrast * brightness + (1 - contrast) * mean)
    pictures = resampled(pictures, draws.move(0.125, size), padding="zeros")
    places = torch.arange(size, device=pictures.device)
    cut = [(places - (size * draws.uniform(0, 1)).floor()[:, None]).add(0.5).abs() < size / 4 for _ in range(2)]
    return pictures * ~(cut[0][:, None, :, None] & cut[1][:, None, None, :])


def matrices(rows: list[list[Tensor | float]]) -> Matrices:
    """Return (batch, 3, 3) of entries that are numbers or (batch,)."""
    like = next(entry for row in rows for entry in row if isinstance(entry, Tensor))
    return torch.stack([torch.stack([torch.as_tensor(entry).to(like).expand_as(like) for entry in row], dim=-1) for row in rows], dim=-2)


def rotation(angles: Tensor) -> Matrices:
    """Return turns of the plane by `angles` (batch,) in radians."""
    return matrices([[angles.cos(), -angles.sin(), 0.0], [angles.sin(), angles.cos(), 0.0], [0.0, 0.0, 1.0]])


def scaling(x: Tensor, y: Tensor) -> Matrices:
    """Return scalings of the plane."""
    return matrices([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]])


def shift(x: Tensor, y: Tensor) -> Matrices:
    """Return shifts of the plane, in half sides."""
    return matrices([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def luma_flip(turned: Tensor) -> Matrices:
    """Return the reflection of colours at the plane across the axis of greys (Householder), where `turned` (batch,) is 1; nothing where it is 0."""
    share = 2 / 3 * turned
    return matrices([[1 - share if i == j else -share for j in range(3)] for i in range(3)])


def hue(angles: Tensor) -> Matrices:
    """Return turns of the colours about the axis of greys (Rodrigues)."""
    cosine, sine = angles.cos(), angles.sin() / 3**0.5
    rest = (1 - cosine) / 3
    return matrices([[cosine + rest, rest - sine, rest + sine], [rest + sine, cosine + rest, rest - sine], [rest - sine, rest + sine, cosine + rest]])


def saturation(factors: Tensor) -> Matrices:
    """Return the scaling of colours away from grey."""
    grey = (1 - factors) / 3
    return matrices([[factors + grey if i == j else grey for j in range(3)] for i in range(3)])


def recoloured(pictures: Tensor, colour: Matrices, brightness: Tensor) -> Tensor:
    """Return `colour` times every pixel, plus `brightness` (batch,)."""
    return torch.einsum("bij,bjhw->bihw", colour, pictures) + brightness[:, None, None, None]


def resampled(pictures: Tensor, plane: Matrices, *, padding: str) -> Tensor:
    """Return pictures whose point p shows what was at `plane` p, the square being [-1, 1]^2; bilinear."""
    grid = F.affine_grid(plane[:, :2], list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode=padding, align_corners=False)
