"""What an objective hands to the loop: named loss terms and their weighted sum; and what a look at a player found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class LossTerms:
    """Scalars by name, each with the weight it has in the sum that is descended."""

    terms: Mapping[str, Tensor]
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The weighted sum; a term without a weight counts once, no terms are zero."""
        if not self.terms:
            return torch.zeros(())
        return torch.stack([term * self.weights.get(name, 1.0) for name, term in self.terms.items()]).sum()

    def detached(self) -> dict[str, float]:
        """Return every term and the total as plain numbers, for the journal."""
        return {"loss": float(self.total.detach())} | {name: float(term.detach()) for name, term in self.terms.items()}


@dataclass(frozen=True)
class Checkup:
    """What a look at a player found.

    Attributes:
        figures: numbers by name, for the journal.
        trouble: what is wrong and what to change, in plain words, where the run should end; None where it should go on.
        suspected: whether this look alone saw a trouble: what the player makes now is not to be kept.
    """

    figures: Mapping[str, float]
    trouble: str | None = None
    suspected: bool = False
