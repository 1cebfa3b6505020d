"""What the best average of a run is chosen by: the held-out loss, a figure of its outputs, or how new it is."""

from dataclasses import dataclass


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
