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
