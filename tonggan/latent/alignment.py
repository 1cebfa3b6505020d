"""Contrastive alignment: paired points of different encoders come to lie together, and of what has time the tokens of the same instant."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tonggan.latent.record import Latent, at_instants


class Alignment(nn.Module):
    """Symmetric InfoNCE with a learned temperature (CLIP, Radford et al. 2021, arXiv:2103.00020, figure 3)."""

    MAX_SCALE = 100.0
    """Ceiling of the learned scale, the temperature's inverse."""

    def __init__(self) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def _scale(self) -> Tensor:
        """Return the learned scale. What training led beyond the ceiling is set back to it: a clamp of the result would have no gradient there to come back by."""
        ceiling = math.log(self.MAX_SCALE)
        if not self.training:  # what is looked at (an average, say) stays as it is
            return self.logit_scale.clamp(max=ceiling).exp()
        with torch.no_grad():
            self.logit_scale.clamp_(max=ceiling)
        return self.logit_scale.exp()

    def forward(self, first: Tensor, second: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the loss of two batches of unit-length points (batch, width), of which row i of one belongs to row i of the other.

        Where two of `rows` (batch,) are the same, neither is a negative of the other.
        """
        logits = unopposed(self._scale() * first.float() @ second.float().T, rows)
        truth = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2

    def in_time(self, first: Latent, second: Latent, shifted: Latent, real: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the loss of two batches that have time, of which row i of one belongs to row i of the other, as `agreement` measures it.

        Negatives are the other rows and, where `real` (batch,) is True, the same clip at another time: `shifted`, of the modality of `second` (the hard
        negatives of Korbar et al. 2018, arXiv:1807.00230). What lies in the same clip is alike but for its time: that is what is learned. Where two of `rows`
        (batch,) are the same, nothing of one is a negative of the other: at which times of the clip they lie is not known here.
        """
        scale = self._scale()
        logits, later = (unopposed(scale * agreement(first, other), rows) for other in (second, shifted))
        later = later.masked_fill(~real, float("-inf"))
        truth = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(torch.cat([logits, later], dim=1), truth) + F.cross_entropy(logits.T, truth)) / 2


def unopposed(logits: Tensor, rows: Tensor | None) -> Tensor:
    """Return logits (batch, batch) at minus infinity where the one row and the other are the same of `rows` (batch,), but for what belongs together."""
    if rows is None:
        return logits
    same = (rows[:, None] == rows[None]).fill_diagonal_(False)
    return logits.masked_fill(same.to(logits.device), float("-inf"))


def agreement(first: Latent, second: Latent) -> Tensor:
    """Return (rows of `first`, rows of `second`): the mean cosine of the tokens at the same instants, those of `second`.

    Points cannot tell: they are means over time of tokens whose positions are relative, nearly the same wherever in a clip its events lie.
    """
    assert second.seconds is not None
    with torch.autocast(second.tokens.device.type, enabled=False):  # what tells a shift is a few thousandths
        one = F.normalize(at_instants(first, second.seconds).float(), dim=-1)
        other = F.normalize(second.tokens.float(), dim=-1)
        return torch.einsum("itw,jtw->ij", one, other) / len(second.seconds)
