"""The discriminator of pictures: a residual network without norms that sees the picture and the latent.

picture (3, 64, 64) -> unshuffle (12, 32, 32) -> (c, 32, 32) -> (2c, 16, 16) -> (4c, 8, 8), where cells read the latent's tokens -> (4c, 4, 4) -> one vector -> verdict,
to which the vector's product with the latent's point is added (projection, Miyato & Koyama 2018, arXiv:1802.05637).
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.layers.convolutional import ResidualBlock
from tonggan.layers.reading import Reading
from tonggan.strict import Count, Strict

LAST_CELLS = 4
READING_CELLS = 8


class ImageDiscriminatorConfig(Strict):
    """Settings of `ImageDiscriminator`."""

    kind: Literal["image"] = "image"
    channels: Count = 64
    """Channels at half the size; twice as many at each half of that."""
    max_channels: Count = 256
    heads: Count = 4


class ImageDiscriminator(nn.Module):
    """Pictures (batch, 3, size, size) in [-1, 1] and their latents -> verdicts (batch,), higher for what seems real and of this latent."""

    slopes_at_features = False

    def __init__(self, config: ImageDiscriminatorConfig, *, size: int, latent_width: int) -> None:
        super().__init__()
        if size < 2 * LAST_CELLS or size & (size - 1):
            raise UserError(
                f"objectives.adversarial: pictures of {size} pixels cannot be judged; model.decoders.image.size must be 8, 16, 32, 64, ..."
            )
        levels = (size // 2 // LAST_CELLS).bit_length()
        widths = [min(config.channels * 2**level, config.max_channels) for level in range(levels)]
        self.begin = nn.Conv2d(12, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(before, after, normalised=False) for before, after in pairwise([widths[0], *widths]))
        cells = [size // 2 >> level for level in range(levels)]
        self.reads_at = cells.index(READING_CELLS) if READING_CELLS in cells else levels - 1
        self.reading = Reading(widths[self.reads_at], latent_width, heads=config.heads)
        # The picture's tower ends where reading begins, so that a mismatched latent costs only what lies above.
        self.joined = ResidualBlock(widths[self.reads_at], widths[self.reads_at], normalised=False)
        self.vector = nn.Linear(widths[-1] * LAST_CELLS**2, widths[-1])
        self.verdict = nn.Linear(widths[-1], 1)
        self.point = nn.Linear(latent_width, widths[-1], bias=False)

    def look(self, pictures: Tensor, latent: Latent) -> Tensor:
        """Return what is seen of pictures, whatever their latents: features (batch, channels, 8, 8)."""
        return self._tower(pictures)[-1]

    def _tower(self, pictures: Tensor) -> list[Tensor]:
        """Return the maps of every size down to the one that reads."""
        found = [self.begin(F.pixel_unshuffle(pictures, 2).contiguous(memory_format=torch.channels_last))]
        for level in range(self.reads_at + 1):
            found.append(self._level(found[-1], level))
        return found[1:]

    def _level(self, x: Tensor, level: int) -> Tensor:
        return self.blocks[level](F.avg_pool2d(x, 2) if level else x)

    def judge(self, features: Tensor, latent: Latent) -> Tensor:
        """Return the verdicts (batch,) on what `look` saw, as pictures of `latent`."""
        x = self.joined(self.reading(features, latent.tokens, latent.mask))
        for level in range(self.reads_at + 1, len(self.blocks)):
            x = self._level(x, level)
        vector = F.silu(self.vector(F.silu(x).flatten(1)))
        # A point of unit length has entries of size width^-1/2; the linear layer expects entries of size one.
        point = self.point(latent.scaled_point)
        return self.verdict(vector).squeeze(1) + (vector * point).sum(1) / vector.shape[1] ** 0.5

    def forward(self, pictures: Tensor, latent: Latent) -> tuple[Tensor, list[Tensor]]:
        """Return the verdicts (batch,), and what was seen on the way to them: maps (batch, channels, height, width), the finest first, which is the picture."""
        found = self._tower(pictures)
        return self.judge(found[-1], latent), [pictures, *found]
