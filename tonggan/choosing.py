"""Best of n: several outputs for one input, ranked by a reward head, or by how close they lie to what they were asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tonggan.errors import UserError
from tonggan.latent.record import Latent
from tonggan.latent.reward import RewardHead, load_reward, space_hash
from tonggan.model import CrossModalModel

Rank = Callable[[Any, Latent], Tensor]
"""(outputs as a decoder gives them, latents of what they were asked for, a row each) -> scores (batch,), the higher the better."""


@dataclass(frozen=True)
class Candidate:
    """An output with the seed that it was made from and its score among those made for the same input."""

    output: Any
    seed: int
    score: float


def ranking(model: CrossModalModel, *, source: str, target: str, reward: str | Path | None = None) -> Rank:
    """Return how outputs of `target` that were asked for in `source` are ranked: by a reward head, or by the cosine of both points in the shared space.

    Raises `UserError` where the model has no encoder for what it makes, and for a head of another arrow or of another model's space.
    """
    if target not in model.encoders:
        known = ", ".join(model.encoders)
        raise UserError(f"best of n needs a model that can read what it makes: this one has no encoder for '{target}' (it has {known}).")
    head: RewardHead | None = None
    if reward is not None:
        head, facts = load_reward(Path(reward))
        if facts.arrow != f"{source}->{target}":
            raise UserError(f"{reward} judges {facts.arrow}, not {source}->{target}. Leave it out, or learn one for this arrow.")
        if facts.space != space_hash(model, source, target):
            raise UserError(
                f"{reward} was learned in the space of another model ('{facts.model}'). Learn one for this: tonggan votes learn --model MODEL."
            )

    @torch.no_grad()
    def rank(outputs: Any, asked: Latent) -> Tensor:
        seen = model.encode(outputs, target).latent
        if head is None:
            return (seen.pooled * asked.pooled).sum(1).float().cpu()
        return head(RewardHead.features(seen, asked).cpu())

    return rank


def best(outputs: list[Any], scores: Tensor, seeds: list[int], *, of: int, n: int) -> list[Candidate]:
    """Return the `n` best of each `of` outputs in a row, the best first; of equals the earlier one."""
    found: list[Candidate] = []
    for start in range(0, len(outputs), of):
        made = [Candidate(outputs[i], seeds[i], float(scores[i])) for i in range(start, start + of)]
        found += sorted(made, key=lambda each: -each.score)[:n]
    return found
