"""A discriminator on the features of a trained flow network, for a decoder that shall draw in few steps.

Outputs, real and made, are taken back to noise at a time of their own; the network, which does not move, looks at them; small heads on what its blocks give
tell one from the other (adversarial diffusion distillation in latent form, Sauer et al. 2024, arXiv:2403.12015, without any network trained elsewhere).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.layers.transformer import RMSNorm
from tonggan.objectives import flow
from tonggan.strict import Count, CountOrZero, Finite, NotNegative, Strict


class FeaturesConfig(Strict):
    """Settings of `FeatureDiscriminator`."""

    blocks: tuple[CountOrZero, ...] = Field(default=(2, 5), min_length=1)
    """The blocks of the network whose tokens are looked at, the first is 0."""
    width: Count = 128
    time_mean: Finite = 0.5
    """Of the logit-normal times that outputs are taken back to: higher leaves more of them."""
    time_spread: NotNegative = 1.0


class FeatureNetwork(Protocol):
    """What is asked of a flow network."""

    width: int
    """Of its tokens."""

    def prepare(self, latent: Latent) -> Any:
        """Compute the condition."""
        ...

    def features(self, x: Tensor, times: Tensor, condition: Any) -> Sequence[Tensor]:
        """Return the tokens (batch, tokens, width) that each block gives for x (batch, ...) at times (batch,)."""
        ...


class Renoise(nn.Module):
    """Outputs (batch, channels, height, width) -> under noise, with their time as one more plane; in the place of augmentation."""

    probability: Tensor

    def __init__(self, config: FeaturesConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("probability", torch.ones(()))

    def forward(self, outputs: Tensor, randomness: torch.Generator) -> Tensor:
        """Draw times and noise from the CPU generator `randomness`."""
        times = flow.sample_times(len(outputs), randomness=randomness, mean=self.config.time_mean, spread=self.config.time_spread).to(outputs.device)
        noise = torch.randn(outputs.shape, generator=randomness).to(outputs.device)
        plane = flow.expand_as(times, outputs).expand(-1, 1, *outputs.shape[2:])
        return torch.cat([flow.interpolate(noise, outputs, times), plane], dim=1)

    def adapt(self, certainty: Tensor) -> None:
        """Nothing adapts."""


class FeatureDiscriminator(nn.Module):
    """Noisy outputs with their time and their latents -> verdicts (batch,); only the heads are its own, and only they are in its state."""

    slopes_at_features = True

    def __init__(self, network: FeatureNetwork, config: FeaturesConfig, *, blocks: int, latent_width: int) -> None:
        super().__init__()
        for block in config.blocks:
            if not 0 <= block < blocks:
                raise UserError(f"objectives.adversarial.features.blocks: the teacher's network has blocks 0 to {blocks - 1}, not {block}.")
        self.config = config
        self._network = (network,)  # in a tuple it is no part of this module
        self.heads = nn.ModuleList(
            nn.Sequential(RMSNorm(network.width), nn.Linear(network.width, config.width), nn.SiLU(), nn.Linear(config.width, config.width), nn.SiLU())
            for _ in config.blocks
        )
        self.verdicts = nn.ModuleList(nn.Linear(config.width, 1) for _ in config.blocks)
        self.points = nn.ModuleList(nn.Linear(latent_width, config.width, bias=False) for _ in config.blocks)

    def look(self, shown: Tensor, latent: Latent) -> Tensor:
        """Return the tokens of the chosen blocks, (batch, blocks, tokens, width)."""
        (network,) = self._network
        found = network.features(shown[:, :-1], shown[:, -1, 0, 0], network.prepare(latent))
        return torch.stack([found[block] for block in self.config.blocks], dim=1)

    def judge(self, features: Tensor, latent: Latent) -> Tensor:
        """Return the mean verdict of all tokens of all blocks, with the point's projection."""
        point = latent.scaled_point
        found = []
        for tokens, head, verdict, project in zip(features.unbind(1), self.heads, self.verdicts, self.points, strict=True):
            x = head(tokens).mean(1)
            found.append(verdict(x).squeeze(1) + (x * F.normalize(project(point), dim=1)).sum(1))
        return torch.stack(found).mean(0)

    def forward(self, shown: Tensor, latent: Latent) -> tuple[Tensor, list[Tensor]]:
        """Return the verdicts (batch,), and the tokens (batch, tokens, width) of each chosen block, by which they came about."""
        features = self.look(shown, latent)
        return self.judge(features, latent), list(features.unbind(1))
