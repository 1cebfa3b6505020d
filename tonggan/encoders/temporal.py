"""What encoders of clips and of sounds have in common: tokens in time go through blocks whose positions are seconds."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tonggan.latent.record import Latent
from tonggan.layers.transformer import temporal_angles


def through_time(x: Tensor, seconds: Tensor, *, blocks: Iterable[nn.Module], norm: nn.Module, head_width: int) -> Latent:
    """Lead tokens (batch, tokens, width), each shown or heard at its second (tokens,), through `blocks` and `norm`; `pooled` is their mean."""
    angles = temporal_angles(seconds, head_width)
    for block in blocks:
        x = block(x, rotation=(angles.cos(), angles.sin()))
    tokens = norm(x)
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return Latent(tokens, mask, tokens.mean(1), seconds)
