"""What the best average of a run is chosen by: the held-out loss, a figure of its outputs, or how new it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tonggan.errors import UserError, nearest
from tonggan.model import CrossModalModel
from tonggan.training.recipe import Recipe

UNMEASURED = ("loss", "latest")
"""What the best average can be chosen by without outputs being measured."""


class Judge(Protocol):
    """Measures what a model makes, cheaply, while it is trained; `tonggan.evaluation.watching` has one."""

    higher: Mapping[str, bool]
    """The figures that it measures, and whether more of each is better."""

    def __call__(self, model: CrossModalModel) -> dict[str, float]:
        """Return the figures of a model in evaluation mode; the same for the same weights."""
        ...


@dataclass(frozen=True)
class Choice:
    """A figure, by the name that `monitor.best_by` has for it, and whether more of it is better.

    A checkpoint keeps the best as a score, of which less is better whatever the figure is: the figure itself, or its negative.
    """

    by: str
    higher: bool
    apart: bool = True
    """Whether a loss is of what was kept apart, not of what is trained on."""

    @property
    def what(self) -> str:
        """The figure in words."""
        return {"loss": "held-out loss" if self.apart else "loss on what is trained on", "latest": "step"}.get(self.by, self.by)

    def score(self, figure: float) -> float:
        """Return the score of a figure."""
        return -figure if self.higher else figure

    def figure(self, score: float) -> float:
        """Return the figure of a score."""
        return -score if self.higher else score

    def told(self, score: float) -> str:
        """Say what was chosen, its figure with its sign."""
        figure = self.figure(score)
        return f"the average of step {figure:,.0f}" if self.by == "latest" else f"best {self.what} {figure:.4f}"


def check_best_by(recipe: Recipe, judge: Judge | None, *, resume: bool = False) -> None:
    """Raise `UserError` where the best average is to be chosen by something that is not measured."""
    best_by, measured = recipe.monitor.best_by, list(judge.higher) if judge else []
    objectives = recipe.objectives
    if best_by == "loss" and objectives.adversarial is not None and objectives.distil is None and not resume:  # what began so may end so
        raise UserError(
            "monitor.best_by: the held-out loss says nothing of a game with a discriminator. Set it to latest, or to a figure that is measured."
        )
    if best_by not in (*UNMEASURED, *measured):
        every = "" if judge else " Set monitor.evaluate_every, so that outputs are measured."
        raise UserError(f"monitor.best_by: '{best_by}' is not measured in this run.{nearest(best_by, [*UNMEASURED, *measured])}{every}")
