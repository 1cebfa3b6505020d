"""What is looked at to see whether an adversarial game goes well, and what to say and change where it does not.

Everything it goes by is in buffers: a resumed run comes to the same conclusions.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

WARM_UP, REFERENCE = 50, 100
"""Turns whose gradients are not looked at, and turns after them that say what size they usually have."""
GROWN = 1000.0
"""Gradients so many times as long, or as short, as they were are no training any more."""
NOTHING = 1e-20
"""A generator's gradient of zero counts as one of this length: nothing comes from verdicts any more. A discriminator's is none: by the hinge it rests
where it is sure, and the generator is taught all the same."""
DEAD = 1e-15
"""What comes from verdicts to a generator is nothing below this, whatever it was at first."""
ALIKE_CAPTIONS, ALIKE_SEEDS = 0.05, 0.005
"""Pictures that differ by less than this share of what real ones differ by are taken for the same picture."""
MEMORISED, CERTAIN = 0.9, 0.95
"""Held-out pictures that seem nearly as made as those that are made, to a discriminator that is nearly always right."""
BY_CHANCE = 0.6
"""Pairs told apart by one who knows nothing are half of all; up to this share is taken for that."""
LATELY = 0.02
"""Weight of the newest value in running means."""

ADVICE = {
    "captions": "mode collapse: what is made for different captions is all but the same. Raise objectives.adversarial.penalty, or lower optimizer.learning_rate",
    "seeds": "mode collapse: what is made from different seeds is all but the same. Raise objectives.adversarial.penalty, or lower what else is descended "
    "(mean square error leaves no room for seeds)",
    "exploding": "gradients are over a thousand times as long as they were: the game explodes. Lower optimizer.learning_rate and "
    "objectives.adversarial.learning_rate, or raise objectives.adversarial.penalty",
    "vanishing": "gradients are less than a thousandth of what they were: one player has won and the other learns nothing. Raise objectives.adversarial.penalty, "
    "or lower objectives.adversarial.learning_rate",
    "memorising": "the discriminator knows the training outputs by heart: held-out ones seem as false to it as made ones. Set "
    "objectives.adversarial.augment.kind to ada or diffaugment, raise objectives.adversarial.penalty, or give it more data",
    "idle": "the discriminator tells neither made outputs from true ones nor their captions from others' better than chance does: verdicts teach nothing. Raise "
    "objectives.adversarial.learning_rate, or lower objectives.adversarial.penalty or objectives.adversarial.weight",
}
"""What is wrong -> what is said of it."""
PLAYERS = ("generator", "discriminator")
GENERATOR, DISCRIMINATOR = range(len(PLAYERS))


class Vitals(nn.Module):
    """Running means of verdicts and gradient norms, and how many looks in a row each trouble was seen in."""

    verdicts: Tensor
    norms: Tensor
    strikes: Tensor

    def __init__(self, *, patience: int) -> None:
        super().__init__()
        self.patience = patience
        self.register_buffer("verdicts", torch.zeros(4, dtype=torch.float64))
        """Running means: on real outputs, on made ones, share of pairs of both told apart, share of real outputs told beside their own latent from beside
        another's (1 where nobody asks)."""
        self.register_buffer("norms", torch.zeros(len(PLAYERS), 3, dtype=torch.float64))
        """A player: turns, mean logarithm of the gradient's norm at first, running mean lately."""
        self.register_buffer("strikes", torch.zeros(len(ADVICE), dtype=torch.long))

    @torch.no_grad()
    def judged(self, real: Tensor, made: Tensor, other: Tensor | None = None) -> None:
        """Take note of a turn's verdicts (batch,) each: on real outputs, made ones, and real ones beside other latents (NaN where that is the same)."""
        told = torch.ones(0) if other is None else (real > other)[~other.isnan()]
        shares = [(real > made).double().mean(), told.double().mean() if len(told) else torch.ones(())]
        found = torch.stack([each.to(self.verdicts) for each in (real.double().mean(), made.double().mean(), *shares)])
        if torch.isfinite(found).all():
            self.verdicts.copy_(found if not self.verdicts.any() else torch.lerp(self.verdicts, found, LATELY))

    @torch.no_grad()
    def moved(self, player: int, norm: float) -> None:
        """Take note of the norm of a gradient: of the generator's, what verdicts lead to the outputs; of the discriminator's, what its parameters follow."""
        if not math.isfinite(norm) or (norm <= 0 and player != GENERATOR):
            return
        turns, first, lately = self.norms[player].tolist()
        logarithm, counted = math.log(max(norm, NOTHING)), turns - WARM_UP
        if 0 <= counted < REFERENCE:
            first += (logarithm - first) / (counted + 1)
        lately = logarithm if not turns else lately + LATELY * (logarithm - lately)
        self.norms[player] = torch.tensor([turns + 1, first, lately])

    def growth(self, player: int) -> float:
        """Return how many times as long a player's gradients are lately as they were at first; 1 while that is not known."""
        turns, first, lately = self.norms[player].tolist()
        return math.exp(min(lately - first, 700)) if turns >= WARM_UP + REFERENCE else 1.0

    def figures(self, *, held_out: float, captions: float, seeds: float | None) -> dict[str, float]:
        """Return what is known, by name.

        `held_out` is by how much outputs that are not trained on seem more real than those made for them (levels themselves mean nothing: what is descended
        compares); `captions` and `seeds` are how much made outputs differ, from caption to caption and
        from seed to seed, as shares of how much real ones do (None where seeds change nothing).
        """
        real, made, told_apart, own_told = self.verdicts.tolist()
        figures = {
            "margin": real - made,
            "told_apart": told_apart,
            "own_told": own_told,
            "memorised": min(max(1 - held_out / max(real - made, 1e-6), 0.0), 1.0),
        }
        figures |= {f"{name}_gradient_growth": self.growth(player) for player, name in enumerate(PLAYERS)}
        return figures | {"diversity_captions": captions} | ({} if seeds is None else {"diversity_seeds": seeds})

    @property
    def suspected(self) -> bool:
        """Whether the last look saw a trouble, though not yet often enough to tell; never where `patience` is 0."""
        return self.patience > 0 and bool(self.strikes.any())

    def trouble(self, figures: Mapping[str, float]) -> str | None:
        """Return what to tell the user where the same trouble was seen `patience` looks in a row, else None; 0 never tells."""
        growths = [figures[f"{name}_gradient_growth"] for name in PLAYERS]
        seen = {
            "captions": figures["diversity_captions"] < ALIKE_CAPTIONS,
            "seeds": figures.get("diversity_seeds", 1.0) < ALIKE_SEEDS,
            "exploding": max(growths) > GROWN,
            "vanishing": min(growths) < 1 / GROWN or float(self.norms[GENERATOR, 2]) < math.log(DEAD),
            "memorising": figures.get("memorised", 0.0) > MEMORISED and figures["told_apart"] > CERTAIN,
            "idle": bool(self.verdicts.any()) and max(figures["told_apart"], figures["own_told"]) < BY_CHANCE,
        }
        ready = self.norms[:, 0].max() >= WARM_UP + REFERENCE  # one of the two may rest all the time
        now = torch.tensor([seen[name] and bool(ready) for name in ADVICE]).to(self.strikes.device)
        self.strikes.copy_(torch.where(now, self.strikes + 1, 0))
        worst = int(self.strikes.argmax())
        return list(ADVICE.values())[worst] if self.patience and self.strikes[worst] >= self.patience else None


def mean_distance(outputs: Tensor) -> float:
    """Return the mean root-mean-square distance of all pairs of `outputs` (count, ...), zero for one alone."""
    if len(outputs) < 2:
        return 0.0
    flat = outputs.flatten(1).double()
    return float(torch.pdist(flat).mean()) / flat.shape[1] ** 0.5
