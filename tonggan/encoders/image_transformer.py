"""Image encoder: convolutions to one token for every 8 x 8 pixels, then a transformer over them."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.layers.convolutional import ResidualBlock
from tonggan.layers.transformer import Block, RMSNorm, axial_angles
from tonggan.parts import Encoder, PartConfig
from tonggan.strict import Count, CountOrZero


class ImageTransformerConfig(PartConfig):
    """Settings of `ImageTransformer`."""

    kind: Literal["image_transformer"] = "image_transformer"
    head_width_multiple = 4
    size: Count = 64
    width: Count = 256
    layers: CountOrZero = 6
    """Blocks of the transformer; without any a token knows its surroundings alone."""
    heads: Count = 4
    stem: Literal["residual", "vgg"] = "residual"
    """`residual` begins at half the size and costs little; `vgg` sees every pixel, and learns what is drawn from fewer pictures (docs/log.md, 2026-11-26)."""
    stem_channels: tuple[Count, ...] | None = None
    """Of `residual` at a half and a quarter of the size (48, 96 unless given), of `vgg` at the whole, a half and a quarter (64, 128, 256)."""


class ImageTransformer(Encoder[ImageTransformerConfig]):
    """Pictures (batch, 3, size, size) in [-1, 1] -> (size / 8) ** 2 tokens, `pooled` their mean."""

    modality = "image"
    Config = ImageTransformerConfig

    def __init__(self, config: ImageTransformerConfig) -> None:
        super().__init__(config)
        if config.size % 8:
            raise UserError(f"image_transformer: size {config.size} is not a multiple of 8.")
        make, usual = STEMS[config.stem]
        channels = config.stem_channels or usual
        if len(channels) != len(usual):
            raise UserError(f"image_transformer: a stem of kind '{config.stem}' has {len(usual)} stem_channels, not {len(channels)}.")
        self.width = config.width
        self.stages = nn.Sequential(*make(*channels, config.width))
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        angles = axial_angles(config.size // 8, config.size // 8, config.width // config.heads)
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


def _residual(fine: int, coarse: int, width: int) -> list[nn.Module]:
    """Return a stem that halves thrice by patches; early convolutions make small vision transformers learn faster (arXiv:2106.14881)."""
    return [
        nn.PixelUnshuffle(2),
        nn.Conv2d(12, fine, 3, padding=1),
        ResidualBlock(fine, fine),
        nn.Conv2d(fine, coarse, 2, stride=2),
        ResidualBlock(coarse, coarse),
        nn.Conv2d(coarse, width, 2, stride=2),
    ]


def _vgg(*channels: int) -> list[nn.Module]:
    """Return a stem of 3 x 3 convolutions with batch normalisation, a maximum of 2 x 2 between them (arXiv:1409.1556, arXiv:1502.03167)."""
    stages: list[nn.Module] = []
    for before, after in zip((3, *channels), channels, strict=False):
        stages += [nn.MaxPool2d(2)] if stages else []
        stages += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return stages


STEMS: dict[str, tuple[Callable[..., list[nn.Module]], tuple[int, ...]]] = {"residual": (_residual, (48, 96)), "vgg": (_vgg, (64, 128, 256))}
