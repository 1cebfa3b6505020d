"""The article's decoder: a linear layer, two transposed convolutions, tanh; trained by mean square error.

It draws the mean of all pictures that fit a caption, and the mean is a blur: the floor that every other decoder is measured against. A discriminator beside
(`objectives.adversarial`) makes it draw one of them.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Decoder, PartConfig, Played
from tonggan.strict import Count


class ImageDeconvConfig(PartConfig):
    """Settings of `ImageDeconv`."""

    kind: Literal["image_deconv"] = "image_deconv"
    size: Count = 64
    channels: int = Field(default=128, ge=2)
    latent_width: Count = 512


class ImageDeconv(Decoder[ImageDeconvConfig]):
    """`pooled` (batch, latent_width) -> (batch, 3, size, size) in [-1, 1]."""

    modality = "image"
    Config = ImageDeconvConfig
    seeded = False

    def __init__(self, config: ImageDeconvConfig) -> None:
        super().__init__(config)
        if config.size % 4:
            raise UserError(f"image_deconv: size {config.size} is not a multiple of 4.")
        self.cells = config.size // 4
        self.linear = nn.Linear(config.latent_width, config.channels * self.cells**2)
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(config.channels, config.channels // 2, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(config.channels // 2, 3, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, latent: Latent) -> Tensor:
        """Decode a batch."""
        # A point of unit length has entries of size width^-1/2; the linear layer expects entries of size one.
        point = latent.scaled_point
        return self.layers(self.linear(point).reshape(len(latent), self.config.channels, self.cells, self.cells))

    def loss(self, latent: Latent, target: Tensor, *, randomness: torch.Generator) -> LossTerms:
        """Mean square error against `target` (batch, 3, size, size)."""
        return self.play(latent, target, randomness=randomness).own

    def play(self, latent: Latent, target: Tensor, *, randomness: torch.Generator) -> Played:
        """Return the pictures, and their mean square error."""
        made = self(latent).float()
        return Played(made, LossTerms({"mean_square": F.mse_loss(made, target)}))

    def generate(self, latent: Latent, *, against: Latent, seeds: list[int], settings: Mapping[str, Any], start: Tensor | None = None) -> Tensor:
        """Decode; the decoder is deterministic, so `seeds` and `against` change nothing."""
        if start is not None:
            raise UserError("image_deconv draws in one pass and cannot start from a picture. Use a model with an image_flow decoder.")
        return self(latent).float()
