"""Cells of a feature map read the tokens of a latent."""

from torch import Tensor, nn

from tonggan.errors import UserError
from tonggan.layers.transformer import RMSNorm, attend, mask_bias


class Reading(nn.Module):
    """Cross-attention from the cells of a map to tokens, added to the map; adds nothing until it has learned to."""

    def __init__(self, channels: int, context_width: int, *, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise UserError(f"{channels} channels cannot be split into {heads} heads: choose a number of heads that divides them.")
        self.heads = heads
        self.norm = RMSNorm(channels)
        self.to_queries = nn.Linear(channels, channels, bias=False)
        self.to_context = nn.Linear(context_width, 2 * channels, bias=False)
        self.query_norm, self.key_norm = RMSNorm(channels // heads), RMSNorm(channels // heads)
        self.out = nn.Linear(channels, channels, bias=False)
        nn.init.zeros_(self.out.weight)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """x (batch, channels, height, width), tokens (batch, tokens, context_width), mask (batch, tokens) -> the shape of x."""
        cells = self.norm(x.flatten(2).transpose(1, 2))
        keys, values = (self._split(each) for each in self.to_context(tokens).chunk(2, dim=-1))
        queries, keys = self.query_norm(self._split(self.to_queries(cells))), self.key_norm(keys)
        mixed = attend(queries.to(values.dtype), keys.to(values.dtype), values, mask_bias(mask, values.dtype))
        read = self.out(mixed.transpose(1, 2).flatten(2))
        return x + read.transpose(1, 2).unflatten(2, x.shape[2:])
