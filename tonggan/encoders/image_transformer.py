"""Image encoder: a small vision transformer behind a convolutional stem, one token for every 8 x 8 pixels."""

from typing import Literal

import torch
from torch import Tensor, nn

from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.layers.convolutional import ResidualBlock
from tonggan.layers.transformer import Block, RMSNorm, axial_angles
from tonggan.parts import Encoder, PartConfig


class ImageTransformerConfig(PartConfig):
    """Settings of `ImageTransformer`."""

    kind: Literal["image_transformer"] = "image_transformer"
    size: int = 64
    width: int = 256
    layers: int = 6
    heads: int = 4
    stem_channels: tuple[int, int] = (48, 96)
    """Channels at a half and at a quarter of the size; early convolutions make small vision transformers learn faster (arXiv:2106.14881)."""


class ImageTransformer(Encoder[ImageTransformerConfig]):
    """Pictures (batch, 3, size, size) in [-1, 1] -> (size / 8) ** 2 tokens, `pooled` their mean."""

    modality = "image"
    Config = ImageTransformerConfig

    def __init__(self, config: ImageTransformerConfig) -> None:
        super().__init__(config)
        if config.size % 8:
            raise UserError(f"image_transformer: size {config.size} is not a multiple of 8.")
        self.width, (fine, coarse) = config.width, config.stem_channels
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, fine, 3, padding=1),
            ResidualBlock(fine, fine),
            nn.Conv2d(fine, coarse, 2, stride=2),
            ResidualBlock(coarse, coarse),
            nn.Conv2d(coarse, config.width, 2, stride=2),
        )
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        angles = axial_angles(config.size // 8, config.size // 8, config.width // config.heads)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def forward(self, inputs: Tensor) -> Latent:
        """Encode a batch of pictures."""
        x = self.stem(inputs.contiguous(memory_format=torch.channels_last)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x, rotation=(self.cosine, self.sine))
        tokens = self.norm(x)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Latent(tokens, mask, tokens.mean(1))
