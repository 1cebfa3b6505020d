"""The record in which every encoder ends and from which every decoder starts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from tonggan.errors import UserError


@dataclass(frozen=True)
class References:
    """Outputs of the target modality that a decoder may look at while it makes a new one.

    Attributes:
        values: (batch, references, *shape of one output), as the decoder gives them; zeros where nothing is.
        present: (batch, references) bool, True where something is.
    """

    values: Tensor
    present: Tensor

    def to(self, device: torch.device) -> Self:
        """Return these on a device."""
        return replace(self, values=self.values.to(device), present=self.present.to(device))

    def first(self, count: int) -> Self:
        """Return these with nothing behind the first `count` of each row."""
        slots = torch.arange(self.present.shape[1], device=self.present.device) < count
        return replace(self, values=self.values * slots[(None, slice(None), *[None] * (self.values.ndim - 2))], present=self.present & slots)

    def then(self, others: Self | None, *, room: int) -> Self:
        """Return these and behind them `others`, as many as there is `room` for; places left over are empty."""
        values, present = [self.values], [self.present]
        if others is not None:
            values, present = [*values, others.values], [*present, others.present]
        missing = max(0, room - sum(each.shape[1] for each in present))
        values.append(self.values.new_zeros(len(self.values), missing, *self.values.shape[2:]))
        present.append(self.present.new_zeros(len(self.present), missing))
        return replace(self, values=torch.cat(values, dim=1)[:, :room], present=torch.cat(present, dim=1)[:, :room])

    def where(self, kept: Tensor) -> Self:
        """Return these with nothing in the rows where `kept` (batch,) is False."""
        mask = kept[(..., *[None] * (self.values.ndim - 1))]
        return replace(self, values=self.values * mask, present=self.present & kept[:, None])


@dataclass(frozen=True)
class Latent:
    """A batch in the shared space.

    Attributes:
        tokens: (batch, tokens, width) float32, what a decoder attends to.
        mask: (batch, tokens) bool, True where a token is real.
        pooled: (batch, width): of an encoder the mean of its tokens, of its own width; behind `SharedSpace`, which alone makes it so, of unit length, the point
            in the shared space (alignment, retrieval, interpolation).
        seconds: (tokens,) centre time of each token, for video and audio; None where time has no meaning.
        references: what a memory recalled for each row; None where there is no memory.
        changes: (batch, labels) what augmentation did to the output that is wanted; None for nothing.
        prompt: what is asked for beside, of another encoder (a caption to a clip); None where the decoder takes none.
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor
    seconds: Tensor | None = None
    references: References | None = None
    changes: Tensor | None = None
    prompt: "Latent | None" = None

    def __len__(self) -> int:
        return len(self.pooled)

    @property
    def scaled_point(self) -> Tensor:
        """The point with components of unit size, (batch, width), as linear layers like their inputs."""
        return self.pooled * self.pooled.shape[-1] ** 0.5

    def seen(self) -> "Latent":
        """Return what a discriminator sees of it, in float32 and without gradients."""
        return replace(self, tokens=self.tokens.detach().float(), pooled=self.pooled.detach().float(), changes=None)

    def rows(self, chosen: Tensor) -> "Latent":
        """Return the rows `chosen` (count,), in that order."""
        return self._with_rows(lambda values: values[chosen])

    def repeat(self, times: int) -> "Latent":
        """Return each row `times` times in a row."""
        return self._with_rows(lambda values: values.repeat_interleave(times, 0))

    def _with_rows(self, of: Callable[[Tensor], Tensor]) -> "Latent":
        """Return this with the rows that `of` makes of those of every tensor that has rows."""
        return replace(
            self,
            tokens=of(self.tokens),
            mask=of(self.mask),
            pooled=of(self.pooled),
            references=self.references and References(of(self.references.values), of(self.references.present)),
            changes=None if self.changes is None else of(self.changes),
            prompt=None if self.prompt is None else self.prompt._with_rows(of),
        )


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the real tokens: (batch, tokens, width), (batch, tokens) -> (batch, width)."""
    weights = mask.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weights).sum(1) / weights.sum(1).clamp_min(1)


def blend(first: Latent, second: Latent, weight: float) -> Latent:
    """Return the latents at `weight` (0 to 1) on the way from `first` to `second`, row by row.

    Points move on the great circle between them (Shoemake 1985), tokens and references on straight lines; what one row has fewer of are zeros. The
    prompt is that of the nearer end. Raises `UserError` as `stack` does.
    """
    whole = stack(first, second)
    tokens, others = whole.tokens.chunk(2)
    masks, pooled = whole.mask.chunk(2), whole.pooled.chunk(2)
    tokens, others = tokens * masks[0].unsqueeze(-1), others * masks[1].unsqueeze(-1)
    angle = (pooled[0] * pooled[1]).sum(-1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    point = (torch.sin((1 - weight) * angle) * pooled[0] + torch.sin(weight * angle) * pooled[1]) / torch.sin(angle)
    mask = masks[0] if weight <= 0 else masks[1] if weight >= 1 else masks[0] | masks[1]
    point = torch.nn.functional.normalize(point, dim=-1)
    prompt = (first if weight < 0.5 else second).prompt
    return Latent(torch.lerp(tokens, others, weight), mask, point, whole.seconds, _blended(whole.references, weight), prompt=prompt)


def _blended(references: References | None, weight: float) -> References | None:
    """Return what lies between the first half of the rows and the second: both, fading into each other, for to change one for the other would be a cut."""
    if references is None:
        return None
    values, present = references.values.chunk(2), references.present.chunk(2)
    there = present[0] if weight <= 0 else present[1] if weight >= 1 else present[0] | present[1]
    return References(torch.lerp(values[0], values[1], weight), there)


def at_instants(latent: Latent, instants: Tensor) -> Tensor:
    """Return the latent's tokens at other seconds (instants,), linearly between neighbours, as they are before the first and behind the last.

    (batch, tokens, width) -> (batch, instants, width). Masked tokens count as zeros: nothing is seen.
    """
    assert latent.seconds is not None
    tokens = latent.tokens * latent.mask.unsqueeze(-1).to(latent.tokens.dtype)
    if len(latent.seconds) == 1:
        return tokens.expand(-1, len(instants), -1)
    after = torch.searchsorted(latent.seconds, instants).clamp(1, len(latent.seconds) - 1)
    begin, end = latent.seconds[after - 1], latent.seconds[after]
    share = ((instants - begin) / (end - begin)).clamp(0, 1).to(tokens.dtype).unsqueeze(-1)
    return tokens[:, after - 1] * (1 - share) + tokens[:, after] * share


def stack(*latents: Latent) -> Latent:
    """Return batches as one, the shorter ones' tokens padded (masked), so that one pass of a network serves all.

    Raises `UserError` where their tokens are not of the same instants, as those of a clip and of a caption are not.
    """
    if not all(_same_instants(each.seconds, latents[0].seconds) for each in latents):
        raise UserError("what has a time and what has none, or another, do not go together token by token: give inputs of one modality.")
    length = max(each.tokens.shape[1] for each in latents)
    padded = [_padded(each, length) for each in latents]
    tokens, masks, pooled = (torch.cat([getattr(each, name) for each in padded]) for name in ("tokens", "mask", "pooled"))
    prompts = [each.prompt for each in latents if each.prompt is not None]
    assert len(prompts) in (0, len(latents)), "some of the latents have a prompt, others none"
    told = stack(*prompts) if prompts else None
    return Latent(tokens, masks, pooled, latents[0].seconds, _stacked_references(latents), _stacked_changes(latents), told)


def _same_instants(seconds: Tensor | None, others: Tensor | None) -> bool:
    if seconds is None or others is None or seconds is others:
        return seconds is others
    return torch.equal(seconds, others)


def _stacked_changes(latents: tuple[Latent, ...]) -> Tensor | None:
    like = next((each.changes for each in latents if each.changes is not None), None)
    if like is None:
        return None
    return torch.cat([like.new_zeros(len(each), like.shape[1]) if each.changes is None else each.changes for each in latents])


def _stacked_references(latents: tuple[Latent, ...]) -> References | None:
    like = next((each.references for each in latents if each.references is not None), None)
    if like is None:
        return None
    given = [each.references or _nothing(like, len(each)) for each in latents]
    return References(torch.cat([each.values for each in given]), torch.cat([each.present for each in given]))


def _nothing(like: References, count: int) -> References:
    return References(like.values.new_zeros(count, *like.values.shape[1:]), like.present.new_zeros(count, *like.present.shape[1:]))


def _padded(latent: Latent, length: int) -> Latent:
    missing = length - latent.tokens.shape[1]
    if not missing:
        return latent
    return replace(
        latent,
        tokens=torch.nn.functional.pad(latent.tokens, (0, 0, 0, missing)),
        mask=torch.nn.functional.pad(latent.mask, (0, missing), value=False),
    )
