"""Video encoder: each frame, beside its difference to the one before, through image patches; then a transformer over time. One token a frame."""

from typing import Literal

import torch
from torch import Tensor, nn

from tonggan.encoders.temporal import through_time
from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.layers.convolutional import ResidualBlock
from tonggan.layers.transformer import Block, RMSNorm
from tonggan.modalities.image import to_float
from tonggan.parts import Encoder, PartConfig
from tonggan.strict import Count, CountOrZero, Positive

LOUDER = 4.0
"""Factor of the difference to the frame before."""
STILL = 1e-4
"""Mean square (or mean) of a clip's changes below which they are noise, and not made louder."""


class VideoTransformerConfig(PartConfig):
    """Settings of `VideoTransformer`."""

    kind: Literal["video_transformer"] = "video_transformer"
    head_width_multiple = 2
    size: Count = 64
    frames_per_second: Positive = 25.0
    """Rate of the frames, the recipe's `data.frames_per_second`: it gives each token its second."""
    width: Count = 256
    layers: Count = 4
    heads: Count = 4
    stem_channels: tuple[Count, Count, Count] = (64, 64, 128)
    """Channels at a quarter, an eighth and a sixteenth of the size."""
    looks: CountOrZero = 0
    """At so many places of each frame, found by what is there and how it changes, is looked what is there, wherever that is."""


class Glances(nn.Module):
    """Features of places (frames, places, channels) -> (frames, width): what is there, at `looks` places that each frame is found to be worth a look.

    Where something moves is looked first, at `movement` (frames, places) times a gain for each look, and what else is worth a look is learned. What is found does
    not depend on where it is: that red things sound as they do is learned once, not for every place. The output starts at zero.
    """

    def __init__(self, channels: int, width: int, *, looks: int) -> None:
        super().__init__()
        self.features = nn.Sequential(RMSNorm(channels), nn.Linear(channels, 2 * channels), nn.SiLU())
        self.score = nn.Linear(2 * channels, looks)
        self.gain = nn.Parameter(torch.linspace(2, 8, looks))
        self.out = nn.Linear(looks * 2 * channels, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, places: Tensor, movement: Tensor) -> Tensor:
        """Return what is found in each frame."""
        features = self.features(places)
        where = (self.score(features).float() + self.gain * movement.unsqueeze(-1)).softmax(1).to(features.dtype)
        return self.out((where.transpose(1, 2) @ features).flatten(1))


def movement_of(changes: Tensor, *, cell: int) -> Tensor:
    """Return how much each cell (batch, frames, cells) of frames changes, by `changes` (batch, frames, height, width, channels) to the frames before.

    The change into a frame or out of it, whichever is more, so that what strikes is seen before it has stopped; log(1 + its ratio to the clip's mean).
    """
    size = changes.shape[2] // cell
    into = changes.abs().mean(-1).unflatten(3, (size, cell)).unflatten(2, (size, cell)).mean((3, 5)).flatten(2)
    most = torch.maximum(into, torch.cat([into[:, 1:], into[:, -1:]], dim=1))
    return (most / (into.mean((1, 2), keepdim=True) + STILL)).log1p()


class PatchMerge(nn.Linear):
    """(frames, height, width, channels) -> (frames, height / factor, width / factor, channels_out): one linear map of each patch.

    What a convolution with kernel and stride `factor` is, several times faster on the CPU.
    """

    def __init__(self, channels: int, channels_out: int, *, factor: int) -> None:
        super().__init__(channels * factor**2, channels_out, bias=False)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return the patches' values."""
        frames, height, width, channels = x.shape
        cells = x.reshape(frames, height // self.factor, self.factor, width // self.factor, self.factor, channels)
        return super().forward(cells.transpose(2, 3).flatten(3))


class VideoTransformer(Encoder[VideoTransformerConfig]):
    """Frames uint8 (batch, frames, 3, size, size) -> one token a frame, `seconds` when it is shown, `pooled` their mean.

    A frame is not pooled to a point before its place is read off: where a thing is decides when it strikes. Differences are told four times as loud
    as they are, for what moves is small.
    """

    modality = "video"
    timed = True
    Config = VideoTransformerConfig

    def __init__(self, config: VideoTransformerConfig) -> None:
        super().__init__(config)
        if config.size % 16:
            raise UserError(f"video_transformer: size {config.size} is not a multiple of 16.")
        self.width, (fine, middle, coarse) = config.width, config.stem_channels
        cells = (config.size // 16) ** 2
        self.fine = nn.Sequential(PatchMerge(6, fine, factor=4), RMSNorm(fine), nn.SiLU())
        self.middle = PatchMerge(fine, middle, factor=2)
        self.around = ResidualBlock(middle, middle)
        self.coarse = nn.Sequential(PatchMerge(middle, coarse, factor=2), RMSNorm(coarse), nn.SiLU(), nn.Flatten())
        self.place, self.move = nn.Linear(coarse * cells, config.width), nn.Linear(coarse * cells, config.width, bias=False)
        self.place_norm = RMSNorm(config.width)
        self.glances = Glances(middle, config.width, looks=config.looks) if config.looks else None
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)

    def forward(self, inputs: Tensor) -> Latent:
        """Encode a batch of clips, of any length."""
        x = self._tokens(inputs.permute(0, 1, 3, 4, 2))
        seconds = torch.arange(inputs.shape[1], device=inputs.device) / self.config.frames_per_second
        return through_time(x, seconds, blocks=self.blocks, norm=self.norm, head_width=self.config.width // self.config.heads)

    def _tokens(self, frames: Tensor) -> Tensor:
        """uint8 (batch, frames, size, size, 3) -> (batch, frames, width), each frame for itself."""
        seen = to_float(frames)
        before = torch.cat([seen[:, :1], seen[:, :-1]], dim=1)
        changes = seen - before
        x = self.middle(self.fine(torch.cat([seen, LOUDER * changes], dim=-1).flatten(0, 1)))
        around = self.around(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = self.coarse(around).unflatten(0, frames.shape[:2])
        # What changes in a clip is little beside what stays, and is what is heard: each is brought to a size of its own, the whole clip alike.
        stays = x.mean(1, keepdim=True)
        moves = self.move(x - stays).float()
        told = self.place_norm(self.place(stays)) + moves / (moves.square().mean((1, 2), keepdim=True) + STILL).sqrt()
        if self.glances is None:
            return told
        moving = movement_of(changes, cell=self.config.size // around.shape[1]).flatten(0, 1)
        return told + self.glances(around.flatten(1, 2), moving).unflatten(0, frames.shape[:2])
