"""The record in which every encoder ends and from which every decoder starts."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Latent:
    """A batch in the shared space.

    Attributes:
        tokens: (batch, tokens, width) float32, what a decoder attends to.
        mask: (batch, tokens) bool, True where a token is real.
        pooled: (batch, width), unit length: the point in the shared space (alignment, retrieval, interpolation).
        seconds: (tokens,) centre time of each token, for video and audio; None where time has no meaning.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor
    seconds: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pooled)

    def repeat(self, times: int) -> "Latent":
        """Return each row `times` times in a row."""
        return replace(
            self,
            tokens=self.tokens.repeat_interleave(times, 0),
            mask=self.mask.repeat_interleave(times, 0),
            pooled=self.pooled.repeat_interleave(times, 0),
        )


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the real tokens: (batch, tokens, width), (batch, tokens) -> (batch, width)."""
    weights = mask.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weights).sum(1) / weights.sum(1).clamp_min(1)


def blend(first: Latent, second: Latent, weight: float) -> Latent:
    """Return the latents at `weight` (0 to 1) on the way from `first` to `second`, row by row.

    Points move on the great circle between them (Shoemake 1985), tokens on straight lines; the shorter row's missing tokens are zeros.
    """
    whole = stack(first, second)
    tokens, others = whole.tokens.chunk(2)
    masks, pooled = whole.mask.chunk(2), whole.pooled.chunk(2)
    tokens, others = tokens * masks[0].unsqueeze(-1), others * masks[1].unsqueeze(-1)
    angle = (pooled[0] * pooled[1]).sum(-1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    point = (torch.sin((1 - weight) * angle) * pooled[0] + torch.sin(weight * angle) * pooled[1]) / torch.sin(angle)
    mask = masks[0] if weight <= 0 else masks[1] if weight >= 1 else masks[0] | masks[1]
    return Latent(torch.lerp(tokens, others, weight), mask, torch.nn.functional.normalize(point, dim=-1), whole.seconds)


def stack(first: Latent, second: Latent) -> Latent:
    """Return both batches as one, the shorter one's tokens padded (masked), so that one pass of a network serves both."""
    length = max(first.tokens.shape[1], second.tokens.shape[1])
    one, two = _padded(first, length), _padded(second, length)
    return Latent(torch.cat([one.tokens, two.tokens]), torch.cat([one.mask, two.mask]), torch.cat([one.pooled, two.pooled]), first.seconds)


def _padded(latent: Latent, length: int) -> Latent:
    missing = length - latent.tokens.shape[1]
    if not missing:
        return latent
    return replace(
        latent,
        tokens=torch.nn.functional.pad(latent.tokens, (0, 0, 0, missing)),
        mask=torch.nn.functional.pad(latent.mask, (0, missing), value=False),
    )
