"""Image encoder: 3 x 3 convolutions and pooling as in VGG, one token for every 8 x 8 pixels, then a transformer over them."""

from typing import Literal

import torch
from torch import Tensor, nn

from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.layers.transformer import Block, RMSNorm, axial_angles
from tonggan.parts import Encoder, PartConfig


class ImageVGGConfig(PartConfig):
    """Settings of `ImageVGG`."""

    kind: Literal["image_vgg"] = "image_vgg"
    size: int = 64
    channels: tuple[int, int, int, int] = (64, 128, 256, 256)
    """At the whole size, a half, a quarter and an eighth of it."""
    layers: int = 2
    """Blocks of the transformer; without any a token knows its surroundings alone."""
    heads: int = 4


class ImageVGG(Encoder[ImageVGGConfig]):
    """Pictures (batch, 3, size, size) in [-1, 1] -> (size / 8) ** 2 tokens, `pooled` their mean.

    Convolutions of the whole resolution with batch normalisation (Simonyan & Zisserman 2015, arXiv:1409.1556; Ioffe & Szegedy 2015, arXiv:1502.03167): from ten
    thousand pictures they learn what is drawn in fewer samples than patches do.
    """

    modality = "image"
    Config = ImageVGGConfig

    def __init__(self, config: ImageVGGConfig) -> None:
        super().__init__(config)
        if config.size % 8:
            raise UserError(f"image_vgg: size {config.size} is not a multiple of 8.")
        self.width = config.channels[-1]
        stages: list[nn.Module] = []
        before = 3
        for index, channels in enumerate(config.channels):
            stages += [nn.MaxPool2d(2)] if index else []
            stages += [nn.Conv2d(before, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
            before = channels
        self.stages = nn.Sequential(*stages)
        self.blocks = nn.ModuleList(Block(self.width, config.heads) for _ in range(config.layers))
        self.norm = RMSNorm(self.width)
        angles = axial_angles(config.size // 8, config.size // 8, self.width // config.heads)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def forward(self, inputs: Tensor) -> Latent:
        """Encode a batch of pictures."""
        x = self.stages(inputs.contiguous(memory_format=torch.channels_last)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x, rotation=(self.cosine, self.sine))
        tokens = self.norm(x)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Latent(tokens, mask, tokens.mean(1))
