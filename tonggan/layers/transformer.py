"""Transformer blocks that encoders and decoders share: RMS norms, rotary positions, attention that may also read a context."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from tonggan.errors import UserError


@dataclass(frozen=True)
class KeysValues:
    """Keys and values that queries may read beside their own: (batch, heads, tokens, head_width) each, and the bias (batch, 1, 1, tokens) of the mask."""

    keys: Tensor
    values: Tensor
    bias: Tensor


@dataclass
class Past:
    """Keys and values of the tokens so far, so that each new token of a sequence costs one pass of one token."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Take up (batch, heads, tokens, head_width) and return all so far."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values

    def take(self, rows: Tensor) -> None:
        """Keep `rows` of the batch, in that order (a beam search goes on from its best rows)."""
        assert self.keys is not None
        assert self.values is not None
        self.keys, self.values = self.keys[rows], self.values[rows]


class RMSNorm(nn.Module):
    """Root mean square norm (Zhang & Sennrich 2019, arXiv:1910.07467) that stays in the dtype of its input, so that half precision is one fused kernel."""

    def __init__(self, width: int, *, learned: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> the same shape."""
        normed = F.rms_norm(x, x.shape[-1:])
        return normed if self.weight is None else normed * self.weight.to(x.dtype)


def mask_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (batch, 1, 1, tokens): 0 where `mask` (batch, tokens) is True, a large negative number elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -1e4)[:, None, None, :]


def attend(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias) v.

    On the CPU written out, because its fused kernel's backward pass is two to five times slower than these three products at 64 to 128 tokens
    (docs/benchmarks.md); elsewhere the fused kernel.
    """
    if queries.device.type != "cpu":
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=None if bias is None else bias.to(queries.dtype))
    scores = queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    return scores.softmax(-1).to(values.dtype) @ values


@contextmanager
def twice_differentiable(device: str) -> Iterator[None]:
    """Compute in float32, with attention whose gradient has a gradient: fused kernels have none."""
    with torch.autocast(device, enabled=False), sdpa_kernel(SDPBackend.MATH):
        yield


def axial_angles(rows: int, columns: int, head_width: int) -> Tensor:
    """Return the rotation angles (rows * columns, head_width / 2) of two-dimensional rotary positions: half of the pairs turn with the row, half with the column.

    RoPE: Su et al. 2021, arXiv:2104.09864; axial form as in RoPE-ViT, arXiv:2403.13298.
    """
    quarter = head_width // 4
    frequencies = 10.0 ** (-torch.arange(quarter) / max(quarter - 1, 1) * 2)  # from 1 to 1/100 radians a step: grids here are small
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.cat([y.reshape(-1, 1) * frequencies, x.reshape(-1, 1) * frequencies], dim=-1).float()


def temporal_angles(seconds: Tensor, head_width: int) -> Tensor:
    """Return the rotation angles (tokens, head_width / 2) of tokens in time: what lies as far apart in seconds is turned as far apart.

    From 32 radians a second (about one a token) down to a hundredth of that, so that a few seconds are told apart and longer ones can be learned from short.
    """
    frequencies = 32 * 10.0 ** (-torch.arange(head_width // 2, device=seconds.device) / max(head_width // 2 - 1, 1) * 2)
    return seconds.float()[:, None] * frequencies


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn the pairs (first half, second half) of x (batch, heads, tokens, head_width) by angles given as cosine and sine (tokens, head_width / 2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class Attention(nn.Module):
    """Multi-head attention with normalised queries and keys (ViT-22B, arXiv:2302.05442), over its own tokens and, where given, a context."""

    def __init__(self, width: int, heads: int, *, context_width: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"a width of {width} cannot be split into {heads} heads: choose a number of heads that divides it.")
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = RMSNorm(width // heads)
        self.key_norm = RMSNorm(width // heads)
        self.to_context = nn.Linear(context_width, 2 * width, bias=False) if context_width else None
        self.out = nn.Linear(width, width)

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        batch, tokens, width = x.shape
        return x.reshape(batch, tokens, parts, self.heads, width // parts // self.heads).permute(2, 0, 3, 1, 4).unbind(0)

    def read(self, context: Tensor, bias: Tensor, rotation: tuple[Tensor, Tensor] | None = None) -> KeysValues:
        """Return keys and values of `context` (batch, tokens, context_width): computed once a sample, read at every step of a solver.

        With `rotation` its tokens have positions of the kind that own tokens have.
        """
        assert self.to_context is not None
        keys, values = self._split(self.to_context(context), 2)
        keys = self.key_norm(keys)
        return KeysValues(keys if rotation is None else rotate(keys, *rotation), values, bias)

    def forward(
        self,
        x: Tensor,
        *,
        bias: Tensor | None = None,
        context: KeysValues | None = None,
        rotation: tuple[Tensor, Tensor] | None = None,
        past: Past | None = None,
    ) -> Tensor:
        """x (batch, tokens, width) -> the same shape.

        `bias` (batch or 1, 1, tokens or 1, tokens) masks own tokens, `context` is read beside them, `rotation` = (cosine, sine) of positions, `past`
        holds keys and values of earlier tokens and takes up these.
        """
        queries, keys, values = self._split(self.to_qkv(x), 3)
        queries, keys = self.query_norm(queries), self.key_norm(keys)
        if rotation is not None:
            queries, keys = rotate(queries, *rotation), rotate(keys, *rotation)
        if past is not None:
            keys, values = past.append(keys, values)
        if context is not None:
            own = bias if bias is not None else context.bias.new_zeros(len(x), 1, 1, keys.shape[2])
            bias = torch.cat([own.expand(len(x), 1, -1, -1), context.bias.expand(-1, 1, own.shape[2], -1)], dim=-1)
            keys, values = torch.cat([keys, context.keys.to(keys.dtype)], dim=2), torch.cat([values, context.values.to(values.dtype)], dim=2)
        mixed = attend(queries.to(values.dtype), keys.to(values.dtype), values, bias)
        return self.out(mixed.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Multi-head attention from tokens to what they look at; adds nothing until it has learned to.

    What lies on the same grid as the tokens (pictures to look at) has rotary positions on both sides, so that what is near a place is found near it;
    what lies elsewhere (words) has none. One learned token more is read, so that nothing need be looked at.
    The zero start of the output is Flamingo's (arXiv:2204.14198, section 2.2), with a whole layer in place of its gate.
    """

    def __init__(self, width: int, heads: int, *, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.to_queries = nn.Linear(width, width, bias=False)
        self.to_context = nn.Linear(context_width or width, 2 * width, bias=False)
        self.query_norm, self.key_norm = RMSNorm(width // heads), RMSNorm(width // heads)
        self.nothing = nn.Parameter(torch.zeros(2, heads, 1, width // heads))
        self.out = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.out.weight)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def read(self, context: Tensor, mask: Tensor, rotation: tuple[Tensor, Tensor] | None = None) -> KeysValues:
        """Return keys and values of `context` (batch, tokens, context_width) where `mask` (batch, tokens) is True; with `rotation` some multiple of a grid."""
        keys, values = (self._split(each) for each in self.to_context(context).chunk(2, dim=-1))
        keys = self.key_norm(keys)
        if rotation is not None:
            keys = rotate(keys, *(angle.repeat(keys.shape[2] // len(angle), 1) for angle in rotation))
        nothing = self.nothing.to(keys.dtype).unsqueeze(1).expand(-1, len(context), -1, -1, -1)
        bias = mask_bias(nn.functional.pad(mask, (1, 0), value=True), torch.float32)
        return KeysValues(torch.cat([nothing[0], keys.to(nothing.dtype)], dim=2), torch.cat([nothing[1], values], dim=2), bias)

    def forward(self, x: Tensor, context: KeysValues, rotation: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """x (batch, tokens, width) -> the same shape."""
        queries = self.query_norm(self._split(self.to_queries(x)))
        if rotation is not None:
            queries = rotate(queries, *rotation)
        mixed = attend(queries.to(context.values.dtype), context.keys.to(context.values.dtype), context.values, context.bias)
        return self.out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU (tanh form) between them."""

    def __init__(self, width: int, ratio: float = 4.0) -> None:
        hidden = int(width * ratio)
        super().__init__(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))


class Block(nn.Module):
    """Pre-norm transformer block, with a context to read where `context_width` is given."""

    def __init__(self, width: int, heads: int, *, context_width: int | None = None) -> None:
        super().__init__()
        self.attention_norm, self.feed_norm = RMSNorm(width), RMSNorm(width)
        self.attention = Attention(width, heads, context_width=context_width)
        self.feed = FeedForward(width)

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        *,
        context: KeysValues | None = None,
        rotation: tuple[Tensor, Tensor] | None = None,
        past: Past | None = None,
    ) -> Tensor:
        """x (batch, tokens, width) -> the same shape; the rest as `Attention.forward` takes it."""
        x = x + self.attention(self.attention_norm(x), bias=bias, context=context, rotation=rotation, past=past)
        return x + self.feed(self.feed_norm(x))


class ModulatedBlock(nn.Module):
    """Block whose norms and gates follow a condition, with a context to read (DiT, arXiv:2212.09748; adaLN-single of PixArt-alpha, arXiv:2310.00426).

    With `looks` it also looks at what lies on the same grid as its tokens or, where it is of `look_width`, on none. Without `context_width` it reads
    nothing.
    """

    def __init__(self, width: int, heads: int, *, context_width: int | None, looks: bool = False, look_width: int | None = None) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(width, learned=False)
        self.feed_norm = RMSNorm(width, learned=False)
        self.attention = Attention(width, heads, context_width=context_width)
        self.feed = FeedForward(width)
        # The modulation is computed once for all blocks; each adds an offset of its own.
        self.offset = nn.Parameter(torch.zeros(6, width))
        self.look_norm = RMSNorm(width) if looks else None
        self.look = CrossAttention(width, heads, context_width=look_width) if looks else None
        self.looks_around = look_width is None

    def forward(
        self, x: Tensor, modulation: Tensor, *, context: KeysValues | None, rotation: tuple[Tensor, Tensor], seen: KeysValues | None = None
    ) -> Tensor:
        """x (batch, tokens, width), modulation (batch, 6, tokens or 1, width) -> x; `seen` is what the block looks at."""
        shift, scale, gate, feed_shift, feed_scale, feed_gate = (modulation + self.offset.unsqueeze(1)).unbind(1)
        mixed = self.attention(self.attention_norm(x) * (1 + scale) + shift, context=context, rotation=rotation)
        x = x + gate * mixed
        if self.look is not None and self.look_norm is not None and seen is not None:
            x = x + self.look(self.look_norm(x), seen, rotation if self.looks_around else None)
        return x + feed_gate * self.feed(self.feed_norm(x) * (1 + feed_scale) + feed_shift)
