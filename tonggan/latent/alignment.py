"""Contrastive alignment: paired points of different encoders come to lie together."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Alignment(nn.Module):
    """Symmetric InfoNCE with a learned temperature (CLIP, Radford et al. 2021, arXiv:2103.00020, figure 3)."""

    MAX_SCALE = 100.0

    def __init__(self) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of two batches of unit-length points (batch, width), of which row i of one belongs to row i of the other."""
        scale = self.logit_scale.exp().clamp(max=self.MAX_SCALE)
        logits = scale * first.float() @ second.float().T
        truth = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
