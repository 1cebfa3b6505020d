"""Flow matching in pixels: a transformer over 64 tokens between a convolutional stem and head.

picture (3, 64, 64) -> unshuffle (12, 32, 32) -> stem (64, 32, 32) -> (128, 16, 16) -> 8 x 8 = 64 tokens -> transformer -> the same way back with skips.
The network predicts the picture (x-prediction, JiT, arXiv:2511.13720), the loss compares velocities.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from tonggan.errors import UserError, nearest
from tonggan.latent.record import Latent, stack
from tonggan.layers.convolutional import ResidualBlock, norm_groups
from tonggan.layers.embeddings import TimeEmbedding
from tonggan.layers.transformer import KeysValues, ModulatedBlock, axial_angles, mask_bias
from tonggan.objectives import flow
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Decoder, PartConfig


class ImageFlowConfig(PartConfig):
    """Settings of `ImageFlow`."""

    kind: Literal["image_flow"] = "image_flow"
    size: int = 64
    latent_width: int = 320
    width: int = 320
    layers: int = 8
    heads: int = 5
    stem_channels: tuple[int, int] = (64, 128)
    """Channels at a half and at a quarter of the size."""
    stem_blocks: int = 1
    """Residual blocks a stage, on the way in and on the way out."""
    time_mean: float = -0.4
    time_spread: float = 1.0
    num_inference_steps: int = 12
    guidance_scale: float = 2.5
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """Guidance acts at these times t alone (arXiv:2404.07724); elsewhere the network runs once, not twice, a step."""
    solver: Literal["euler", "heun", "multistep"] = "multistep"
    strength: float = 0.6
    """How far a picture that is started from is taken back to noise: 1 leaves nothing of it, 0 all."""


@dataclass(frozen=True)
class Condition:
    """What is computed once a sample and read at every step: the point's embedding (batch, width) and each block's keys and values of the latent tokens."""

    point: Tensor
    contexts: list[KeysValues]


class FlowNetwork(nn.Module):
    """(x_t, t, condition) -> predicted picture."""

    def __init__(self, config: ImageFlowConfig) -> None:
        super().__init__()
        fine, coarse = config.stem_channels
        width, blocks = config.width, config.stem_blocks
        self.cells = config.size // 8

        def stage(before: int, channels: int) -> nn.ModuleList:
            return nn.ModuleList(ResidualBlock(before if i == 0 else channels, channels, condition_width=width) for i in range(blocks))

        self.time = TimeEmbedding(width)
        self.point = nn.Sequential(nn.Linear(config.latent_width, width), nn.SiLU(), nn.Linear(width, width))
        self.unshuffle, self.shuffle = nn.PixelUnshuffle(2), nn.PixelShuffle(2)
        self.fine_in, self.fine_down = nn.Conv2d(12, fine, 3, padding=1), stage(fine, fine)
        self.coarse_in, self.coarse_down = nn.Conv2d(fine, coarse, 2, stride=2), stage(coarse, coarse)
        self.to_tokens = nn.Conv2d(coarse, width, 2, stride=2)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(ModulatedBlock(width, config.heads, context_width=config.latent_width) for _ in range(config.layers))
        self.from_tokens, self.coarse_up = nn.ConvTranspose2d(width, coarse, 2, stride=2), stage(2 * coarse, coarse)
        self.from_coarse, self.fine_up = nn.ConvTranspose2d(coarse, fine, 2, stride=2), stage(2 * fine, fine)
        self.out = nn.Sequential(nn.GroupNorm(norm_groups(fine), fine), nn.SiLU(), nn.Conv2d(fine, 12, 3, padding=1))
        angles = axial_angles(self.cells, self.cells, width // config.heads)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """Start every block as the identity and the output at zero (adaLN-Zero, arXiv:2212.09748)."""
        for layers in (self.modulation, self.out):
            for parameter in layers[-1].parameters():
                nn.init.zeros_(parameter)

    def prepare(self, latent: Latent) -> Condition:
        """Compute what does not change from step to step."""
        point = self.point(latent.pooled * latent.pooled.shape[-1] ** 0.5)
        bias = mask_bias(latent.mask, torch.float32)
        return Condition(point, [cast(ModulatedBlock, block).attention.read(latent.tokens, bias) for block in self.blocks])

    def forward(self, x: Tensor, times: Tensor, condition: Condition) -> Tensor:
        """x (batch, 3, size, size), times (batch,) -> predicted picture of the same shape."""
        embedding = self.time(times) + condition.point
        fine = self.fine_in(self.unshuffle(x).contiguous(memory_format=torch.channels_last))
        for block in self.fine_down:
            fine = block(fine, embedding)
        coarse = self.coarse_in(fine)
        for block in self.coarse_down:
            coarse = block(coarse, embedding)
        tokens = self.to_tokens(coarse).flatten(2).transpose(1, 2)
        modulation = self.modulation(embedding).unflatten(1, (6, -1))
        for block, context in zip(self.blocks, condition.contexts, strict=True):
            tokens = block(tokens, modulation, context=context, rotation=(self.cosine, self.sine))
        deep = tokens.transpose(1, 2).unflatten(2, (self.cells, self.cells)).contiguous(memory_format=torch.channels_last)
        up = torch.cat([self.from_tokens(deep), coarse], dim=1)
        for block in self.coarse_up:
            up = block(up, embedding)
        up = torch.cat([self.from_coarse(up), fine], dim=1)
        for block in self.fine_up:
            up = block(up, embedding)
        return self.shuffle(self.out(up))


class ImageFlow(Decoder[ImageFlowConfig]):
    """`Latent` -> pictures (batch, 3, size, size) in [-1, 1], by integrating a learned velocity from noise."""

    modality = "image"
    Config = ImageFlowConfig

    def __init__(self, config: ImageFlowConfig) -> None:
        super().__init__(config)
        if config.size % 8:
            raise UserError(f"image_flow: size {config.size} is not a multiple of 8.")
        self.network = FlowNetwork(config)

    def loss(self, latent: Latent, target: Tensor, *, randomness: torch.Generator) -> LossTerms:
        """Mean square error of the velocity at logit-normal times (flow matching, arXiv:2210.02747, equation 23)."""
        config = self.config
        times = flow.sample_times(len(target), randomness=randomness, mean=config.time_mean, spread=config.time_spread).to(target.device)
        noise = torch.randn(target.shape, generator=randomness).to(target.device)
        x_t = flow.interpolate(noise, target, times)
        predicted = self.network(x_t, times, self.network.prepare(latent)).float()
        # Both velocities through the same clamp, so that a perfect prediction has loss zero at every t.
        error = flow.velocity_from_data(predicted, x_t, times) - flow.velocity_from_data(target, x_t, times)
        return LossTerms({"flow": (error**2).mean()})

    def default_settings(self) -> dict[str, Any]:
        """Steps, guidance and solver as the recipe has them."""
        names = ("num_inference_steps", "guidance_scale", "guidance_interval", "solver", "strength")
        return {name: getattr(self.config, name) for name in names}

    def generate(self, latent: Latent, *, against: Latent, seeds: list[int], settings: Mapping[str, Any], start: Tensor | None = None) -> Tensor:
        """Integrate from each seed's own noise, led away from `against` by `guidance_scale` (arXiv:2207.12598, equation 6; 1 means unguided).

        With `start` (batch, 3, size, size) the path begins at t = 1 - `strength`, at that picture under its noise (SDEdit, arXiv:2108.01073).
        """
        steps, scale = int(settings["num_inference_steps"]), float(settings["guidance_scale"])
        if settings["solver"] not in flow.SOLVERS:
            raise UserError(f"solver '{settings['solver']}' is not known.{nearest(str(settings['solver']), flow.SOLVERS)}")
        first, last = settings["guidance_interval"]
        alone = self.network.prepare(latent)
        both = self.network.prepare(stack(latent, against)) if scale != 1.0 else alone

        def field(x: Tensor, t: Tensor) -> Tensor:
            guided = scale != 1.0 and first <= float(t) <= last
            twice = torch.cat([x, x]) if guided else x
            times = t.expand(len(twice)).to(x.device)
            slope = flow.velocity_from_data(self.network(twice, times, both if guided else alone).float(), twice, times)
            if not guided:
                return slope
            with_condition, without = slope.chunk(2)
            return without + scale * (with_condition - without)

        noise = seeded_noise(seeds, (3, self.config.size, self.config.size)).to(latent.tokens.device)
        if start is None:
            return flow.SOLVERS[settings["solver"]](field, noise, flow.time_grid(steps)).clamp(-1, 1)
        strength = float(settings["strength"])
        if not 0 <= strength <= 1:
            raise UserError(f"strength {strength:g} is not between 0 and 1.")
        begin = 1 - strength
        x = flow.interpolate(noise, start.to(noise), torch.full((len(noise),), begin, device=noise.device))
        grid = begin + strength * flow.time_grid(max(1, math.ceil(steps * strength)))
        return flow.SOLVERS[settings["solver"]](field, x, grid).clamp(-1, 1)


def seeded_noise(seeds: list[int], shape: tuple[int, ...]) -> Tensor:
    """Return (len(seeds), *shape) normal noise on the CPU, each row from its own seed alone."""
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
