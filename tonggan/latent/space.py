"""The shared space: projection into it, the optional KL term, and the dropping of conditions for guidance."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.latent.record import Latent
from tonggan.layers.transformer import RMSNorm
from tonggan.strict import Count, Share, Strict


class SpaceConfig(Strict):
    """Settings of the shared space."""

    width: Count = 320
    variational: bool = False
    """Sample tokens and points from N(mean, variance) in training and offer the KL term (Kingma & Welling 2014, arXiv:1312.6114, equation 10)."""
    condition_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of samples whose condition is replaced by the learned "nothing" (Ho & Salimans 2022, arXiv:2207.12598, algorithm 1)."""
    prompt_dropout: Share = 0.5
    """Share of samples whose prompt alone is replaced by "nothing", for decoders that take one: so that it may be left out."""


@dataclass(frozen=True)
class Placed:
    """A batch placed in the shared space, with the KL divergence from N(0, 1) per dimension where the space is variational."""

    latent: Latent
    divergence: Tensor | None


class SharedSpace(nn.Module):
    """Leads the latents of every encoder (each of its own width) into one space of one width."""

    def __init__(self, config: SpaceConfig, *, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.ModuleDict({name: nn.Linear(width, config.width) for name, width in widths.items()})
        self.points = nn.ModuleDict({name: nn.Linear(width, config.width) for name, width in widths.items()})
        self.token_norm = RMSNorm(config.width)
        self.spread = nn.Linear(config.width, config.width) if config.variational else None
        if self.spread is not None:
            nn.init.zeros_(self.spread.weight)
            nn.init.constant_(self.spread.bias, -4.0)  # start nearly deterministic: the decoder first learns to listen
        self.null_token = nn.Parameter(torch.randn(config.width) * 0.02)
        self.null_point = nn.Parameter(torch.randn(config.width) * 0.02)

    def forward(self, latent: Latent, source: str, *, randomness: torch.Generator | None = None) -> Placed:
        """Place what the encoder `source` gave: widths are projected, `pooled` gets unit length; sampled only where `randomness` is given."""
        tokens = self.token_norm(self.tokens[source](latent.tokens))
        point = self.points[source](latent.pooled)
        if self.spread is None:
            return Placed(replace(latent, tokens=tokens, pooled=F.normalize(point, dim=-1)), None)
        tokens, token_divergence = self._sampled(tokens, randomness)
        point, point_divergence = self._sampled(point, randomness)
        real = latent.mask.to(token_divergence.dtype)
        divergence = point_divergence.mean() + (token_divergence * real).sum() / real.sum().clamp_min(1)
        return Placed(replace(latent, tokens=tokens, pooled=F.normalize(point, dim=-1)), divergence)

    def _sampled(self, mean: Tensor, randomness: torch.Generator | None) -> tuple[Tensor, Tensor]:
        assert self.spread is not None
        log_variance = self.spread(mean).float().clamp(-10, 4)
        divergence = 0.5 * (mean.float() ** 2 + log_variance.exp() - 1 - log_variance).mean(-1)
        if randomness is None:
            return mean, divergence
        noise = torch.randn(mean.shape, generator=randomness).to(mean.device)
        return mean + noise * (log_variance / 2).exp(), divergence

    def null(self, like: Latent) -> Latent:
        """Return "no condition" for as many rows as `like` has: one learned token, one learned point."""
        tokens = torch.zeros_like(like.tokens)
        tokens[:, 0] = self.null_token.to(tokens.dtype)
        mask = torch.zeros_like(like.mask)
        mask[:, 0] = True
        pooled = F.normalize(self.null_point, dim=-1).to(like.pooled.dtype).expand_as(like.pooled)
        return replace(like, tokens=tokens, mask=mask, pooled=pooled, references=None, prompt=like.prompt and self.null(like.prompt))

    def nothing(self, rows: int) -> Latent:
        """Return "no condition" for so many rows where there is no latent to be like."""
        mask = torch.ones(rows, 1, dtype=torch.bool, device=self.null_token.device)
        return Latent(self.null_token.expand(rows, 1, -1), mask, F.normalize(self.null_point, dim=-1).expand(rows, -1))

    def no_prompt(self, beside: Latent) -> Latent:
        """Return what stands for a prompt that is left out, beside as many rows as a latent has."""
        return self.null(Latent(beside.tokens[:, :1], beside.mask[:, :1], beside.pooled))

    def drop_conditions(self, latent: Latent, *, randomness: torch.Generator) -> Latent:
        """Replace the condition of a random share of rows by "no condition", so that one network learns both (classifier-free guidance).

        A prompt is dropped by itself, whether its row's condition is or not.
        """
        return self.drop_prompts(self._dropped(latent, self.config.condition_dropout, randomness), randomness=randomness)

    def drop_prompts(self, latent: Latent, *, randomness: torch.Generator) -> Latent:
        """Replace the prompt of a random share of rows by "no prompt"; a latent without prompts is as it was."""
        return latent if latent.prompt is None else replace(latent, prompt=self._dropped(latent.prompt, self.config.prompt_dropout, randomness))

    def _dropped(self, latent: Latent, share: float, randomness: torch.Generator) -> Latent:
        if share == 0:
            return latent
        dropped = (torch.rand(len(latent), generator=randomness) < share).to(latent.mask.device)
        nothing = self.null(latent)
        return replace(
            latent,
            tokens=torch.where(dropped[:, None, None], nothing.tokens, latent.tokens),
            mask=torch.where(dropped[:, None], nothing.mask, latent.mask),
            pooled=torch.where(dropped[:, None], nothing.pooled, latent.pooled),
            references=latent.references and latent.references.where(~dropped),
        )
