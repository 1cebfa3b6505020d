"""Image encoder: a small convolutional network, for alignment with captions in the shared space."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from tonggan.latent.record import Latent
from tonggan.layers.convolutional import ResidualBlock, norm_groups
from tonggan.parts import Encoder, PartConfig
from tonggan.strict import Count


class ImageConvolutionalConfig(PartConfig):
    """Settings of `ImageConvolutional`."""

    kind: Literal["image_convolutional"] = "image_convolutional"
    channels: tuple[Count, ...] = Field(default=(48, 96, 192), min_length=1)
    """One stage each, the first after a reduction by four, every further one after a reduction by two."""


class ImageConvolutional(Encoder[ImageConvolutionalConfig]):
    """Pictures (batch, 3, height, width) in [-1, 1] -> one token a cell of the last stage, `pooled` their mean."""

    modality = "image"
    Config = ImageConvolutionalConfig

    def __init__(self, config: ImageConvolutionalConfig) -> None:
        super().__init__(config)
        self.width = config.channels[-1]
        stages: list[nn.Module] = []
        before = 3
        for index, channels in enumerate(config.channels):
            stride = 4 if index == 0 else 2
            stages += [nn.Conv2d(before, channels, stride + 1, stride, padding=stride // 2), ResidualBlock(channels, channels)]
            before = channels
        self.stages = nn.Sequential(*stages, nn.GroupNorm(norm_groups(before), before), nn.SiLU())

    def forward(self, inputs: Tensor) -> Latent:
        """Encode a batch of pictures."""
        features = self.stages(inputs.contiguous(memory_format=torch.channels_last))
        tokens = features.flatten(2).transpose(1, 2)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Latent(tokens, mask, tokens.mean(1))
