"""A conditional GAN in the manner of DF-GAN (arXiv:2008.05865) at 64x64: deep fusion blocks, a one-way discriminator, matching-aware gradient penalty.

Written from the paper (section 3, equations 1-4). The text is the mean MiniLM state in place of DAMSM's sentence vector.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from peers.descent import Descent
from peers.peer import Arena, Pace, Pictures, to_bytes
from peers.sentences import Sentences
from tonggan.data.loader import Batch
from tonggan.decoders.flow_sampling import seeded_noise
from tonggan.training.checkpoint import Checkpoint
from tonggan.training.loop import step_randomness
from tonggan.training.recipe import OptimizerConfig

NOISE_WIDTH = 100
PENALTY_WEIGHT, PENALTY_POWER = 2.0, 6
DISCRIMINATOR_RATE = 4.0
"""The discriminator's learning rate over the generator's."""


def channels(nf: int, size: int) -> list[int]:
    """Return the channels at sizes `size`, `size` / 2, ... 4."""
    return [nf * min(2**level, 8) for level in range(size.bit_length() - 2)]


class Affine(nn.Module):
    """Scale and shift of every channel, predicted from the condition; the identity at first (equation 2)."""

    def __init__(self, condition_width: int, width: int) -> None:
        super().__init__()
        self.gamma, self.beta = self._constant(condition_width, width, 1.0), self._constant(condition_width, width, 0.0)

    @staticmethod
    def _constant(condition_width: int, width: int, value: float) -> nn.Sequential:
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, value)
        return nn.Sequential(nn.Linear(condition_width, width), nn.ReLU(), last)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x (batch, width, height, width), condition (batch, condition width)."""
        return self.gamma(condition)[:, :, None, None] * x + self.beta(condition)[:, :, None, None]


class Fusion(nn.Module):
    """Two affine transformations with non-linearities (the DFBlock)."""

    def __init__(self, condition_width: int, width: int) -> None:
        super().__init__()
        self.affines = nn.ModuleList(Affine(condition_width, width) for _ in range(2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Fuse the condition into x."""
        for affine in self.affines:
            x = F.leaky_relu(affine(x, condition), 0.2)
        return x


class UpBlock(nn.Module):
    """Upsample, then two fusions and convolutions beside a shortcut."""

    def __init__(self, condition_width: int, before: int, after: int) -> None:
        super().__init__()
        self.fusions = nn.ModuleList([Fusion(condition_width, before), Fusion(condition_width, after)])
        self.convolutions = nn.ModuleList([nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)])
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(batch, before, h, w) -> (batch, after, 2 h, 2 w)."""
        x = h = F.interpolate(x, scale_factor=2)
        for fusion, convolution in zip(self.fusions, self.convolutions, strict=True):
            h = convolution(fusion(h, condition))
        return self.shortcut(x) + h


class Generator(nn.Module):
    """(noise, sentence) -> picture in [-1, 1]."""

    def __init__(self, nf: int, sentence_width: int, size: int) -> None:
        super().__init__()
        widths = channels(nf, size)[::-1]
        self.first = nn.Linear(NOISE_WIDTH, widths[0] * 16)
        self.blocks = nn.ModuleList(UpBlock(NOISE_WIDTH + sentence_width, *pair) for pair in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, noise: Tensor, sentences: Tensor) -> Tensor:
        """noise (batch, 100), sentences (batch, width) -> (batch, 3, size, size)."""
        x = self.first(noise).unflatten(1, (-1, 4, 4)).contiguous(memory_format=torch.channels_last)
        condition = torch.cat([noise, sentences], dim=1)
        for block in self.blocks:
            x = block(x, condition)
        return torch.tanh(self.last(F.leaky_relu(x, 0.2)))


class DownBlock(nn.Module):
    """Halve the size; the residual path starts closed."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        slope = nn.LeakyReLU(0.2)
        self.residual = nn.Sequential(
            nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False), slope, nn.Conv2d(after, after, 3, padding=1, bias=False), slope
        )
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, h, w) -> (batch, after, h / 2, w / 2)."""
        return F.avg_pool2d(self.shortcut(x), 2) + self.gamma * self.residual(x)


class Discriminator(nn.Module):
    """Picture and sentence -> one number: real and matching, or not (the one-way output, section 3.3)."""

    def __init__(self, nf: int, sentence_width: int, size: int) -> None:
        super().__init__()
        widths = channels(nf, size)
        downs = [DownBlock(*pair) for pair in pairwise(widths)]
        self.eye = nn.Sequential(nn.Conv2d(3, nf, 3, padding=1), *downs)
        self.verdict = nn.Sequential(
            nn.Conv2d(widths[-1] + sentence_width, 2 * nf, 3, padding=1, bias=False), nn.LeakyReLU(0.2), nn.Conv2d(2 * nf, 1, 4, bias=False)
        )

    def judge(self, features: Tensor, sentences: Tensor) -> Tensor:
        """Features (batch, channels, 4, 4) -> verdicts (batch,)."""
        return self.verdict(torch.cat([features, sentences[:, :, None, None].expand(-1, -1, 4, 4)], dim=1)).flatten()

    def forward(self, pictures: Tensor, sentences: Tensor) -> Tensor:
        """Pictures (batch, 3, size, size) -> verdicts (batch,)."""
        return self.judge(self.eye(pictures), sentences)


class AdversarialPeer:
    """Generator and discriminator, Adam with betas (0, 0.9); the generator's moving average draws."""

    guidance_scale: float | None

    def __init__(self, arena: Arena, *, nf: int, batch_size: int, learning_rate: float) -> None:
        self.name, self.batch_size, self.guidance_scale = "df-gan", batch_size, None
        self.seed, self.taken = arena.recipe.seed, 0
        self.sentences = Sentences(dtype=arena.dtype, only_mean=True)
        torch.manual_seed(self.seed)

        def player(network: nn.Module, rate: float) -> Descent[nn.Module]:
            # The original does not clip gradients.
            config = OptimizerConfig(kind="adam", learning_rate=rate, betas=(0.0, 0.9), clip_norm=1e9)
            return Descent(network, config, dtype=arena.dtype, ema_decay=0.999)

        self.generator = Generator(nf, self.sentences.width, arena.pack.size)
        self.discriminator = Discriminator(nf, self.sentences.width, arena.pack.size)
        self.players = {
            "generator": player(self.generator, learning_rate),
            "discriminator": player(self.discriminator, DISCRIMINATOR_RATE * learning_rate),
        }

    def parameter_count(self) -> int:
        """Return the parameters of both players."""
        return sum(player.parameter_count() for player in self.players.values())

    def step(self, batch: Batch, pace: Pace) -> float:
        """Move the discriminator, then the generator; returns the discriminator's loss. The learning rate stays constant, as published."""
        pictures = batch.inputs["image"].contiguous(memory_format=torch.channels_last)
        sentences = self.sentences.means(batch.inputs["text"])
        noise = torch.randn(len(pictures), NOISE_WIDTH, generator=step_randomness(self.seed, pace.step))
        generator, discriminator = self.players["generator"], self.players["discriminator"]
        with generator.autocast():
            drawn = self.generator(noise, sentences)
        loss = self._discriminator_loss(pictures, drawn.detach(), sentences)
        found = discriminator.descend(loss, step=pace.step, factor=1.0)
        self.discriminator.requires_grad_(False)
        with generator.autocast():
            verdicts = self.discriminator(drawn, sentences)
        generator.descend(-verdicts.float().mean(), step=pace.step, factor=1.0)
        self.discriminator.requires_grad_(True)
        self.taken = pace.step + 1
        return found

    def _discriminator_loss(self, pictures: Tensor, drawn: Tensor, sentences: Tensor) -> Tensor:
        """Hinge loss (equation 1) and the zero-centred penalty on real matching pairs (equation 4, k = 2, p = 6)."""
        # Clones are no leaves: the counter of operations, which looks on in the first step, does not know how to follow slopes at leaves.
        pictures, given = (each.detach().requires_grad_().clone() for each in (pictures, sentences))
        # The penalty is a sixth power of a gradient: it is computed in float32.
        features = self.discriminator.eye(pictures)
        real = self.discriminator.judge(features, given)
        slopes = torch.autograd.grad(real.sum(), (pictures, given), create_graph=True)
        norms = torch.cat([slope.flatten(1) for slope in slopes], dim=1).norm(dim=1)
        with self.players["discriminator"].autocast():
            mismatched = self.discriminator.judge(features.roll(-1, 0), sentences)
            fake = self.discriminator(drawn, sentences)
        hinge = F.relu(1 - real).mean() + (F.relu(1 + fake.float()).mean() + F.relu(1 + mismatched.float()).mean()) / 2
        return hinge + PENALTY_WEIGHT * (norms**PENALTY_POWER).mean()

    def held_out_loss(self, batches: Sequence[Batch]) -> None:
        """A game's loss says nothing of who draws better."""

    def draw(self, captions: Sequence[str], seeds: Sequence[int]) -> Pictures:
        """Draw one picture a caption in one pass."""
        generator = self.players["generator"]
        with generator.averaged(), generator.autocast():
            return to_bytes(self.generator(seeded_noise(list(seeds), (NOISE_WIDTH,)), self.sentences.means(captions)))

    def settings(self) -> dict[str, Any]:
        """One pass, no settings."""
        return {"num_inference_steps": 1}

    def snapshot(self) -> Checkpoint:
        """Return both players' state."""
        tensors = {name: value for key, player in self.players.items() for name, value in player.tensors(key).items()}
        return Checkpoint(self.taken, tensors, {})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what `snapshot` returned."""
        self.taken = checkpoint.step
        for name, player in self.players.items():
            player.restore(checkpoint.tensors, name)


def df_gan(arena: Arena, folder: Path, learning_rate: float, resume: bool) -> AdversarialPeer:
    """The pair at nf = 32 (nf = 4 for tests)."""
    nf, batch_size = (4, 4) if arena.smoke else (32, 32)
    return AdversarialPeer(arena, nf=nf, batch_size=batch_size, learning_rate=learning_rate)
