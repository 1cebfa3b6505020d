"""What is descended: a recipe's section `objectives`."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tonggan.data.loader import Batch
from tonggan.data.windows import Shifts
from tonggan.discriminators.game import AdversarialConfig
from tonggan.latent.record import Latent
from tonggan.strict import Strict

Term = Callable[[Mapping[str, Latent], Batch, torch.Generator], Tensor]
"""The latents of a batch by modality, the batch, and the CPU generator of the step, from which alone random numbers come -> one number to be descended."""
TERMS: dict[str, Term] = {}
"""Loss terms of plugins, by the name that `objectives.extra` gives a weight."""


class DistilConfig(Strict):
    """Teaching a decoder to draw in few steps what a trained model draws in many."""

    teacher: str
    """The trained model, by name or folder."""
    guidance_scale: float = 2.0
    """Guidance that the teacher draws with; the student has it within and draws without."""
    steps: int = Field(default=8, gt=0)
    """Steps of the teacher from noise to picture, a multiple of `stride`."""
    stride: int | None = Field(default=None, gt=0)
    """Steps of the teacher that one of the student's leads over: as many as make the student's `num_inference_steps`, unless set. With 1 the student learns
    guidance alone, at all of the teacher's times, and may draw in any number of steps."""


class PreferConfig(Strict):
    """Teaching a decoder to make what people prefer."""

    preferences: str
    """A table of `prompt, chosen, rejected`, as `tonggan votes export` writes it."""
    reference: str | None = None
    """The model, by name or folder, that is to be bettered and not to be strayed from; what the run starts from unless set."""
    beta: float = Field(default=300.0, gt=0)
    """How much a preference weighs against staying with the reference: beta T of Diffusion-DPO, for squared errors averaged over the numbers of an output."""
    times: Literal["training", "drawing"] = "training"
    """Times at which velocities are compared: those that the decoder was trained at, or, for one that was taught to draw in few steps, those it draws at."""
    keep: float = Field(default=10.0, ge=0)
    """Weight of the distance from the reference's velocities on the training data: without it, what no vote is about is forgotten."""
    hold_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the prompts whose preferences are not learned from: the choice of the best checkpoint uses them."""


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""How much a term counts in the sum that is descended; 0 for not at all."""


class ObjectivesConfig(Strict):
    """What is descended: a weight for each arrow and each term."""

    arrows: dict[str, Weight] = Field(default={"text->image": 1.0})
    """Direction -> weight, such as `text->image: 1.0`; 0 for one that the model has and that is not trained."""
    align: Weight = 0.0
    """Weight of the contrastive alignment of all encoders."""
    align_time_shifts: tuple[float, float] | None = None
    """Time-shifted negatives: what has time is aligned instant by instant as well, against the sound of the same clip that begins so many seconds (the
    shortest, the longest) earlier or later, so that the space knows synchrony. None for none."""
    kl: Weight = 0.0
    """Weight of the KL term of a variational space."""
    extra: dict[str, Weight] = Field(default_factory=dict)
    """Weights of your own terms, by the names that plugins put them into `TERMS` by; every encoder is run for them."""
    distil: DistilConfig | None = None
    """Train the decoder of the one arrow, and it alone, to do at once what a teacher does step by step."""
    prefer: PreferConfig | None = None
    """Train the decoder of the one arrow, and it alone, on preferences."""
    adversarial: AdversarialConfig | None = None
    """Train a discriminator beside, and the decoder of one arrow against it, too: of a flow decoder the first step; beside `distil`, the last of the few."""

    @model_validator(mode="after")
    def _one_goal(self) -> "ObjectivesConfig":
        for name in ("distil", "adversarial"):
            if self.prefer is not None and getattr(self, name) is not None:
                raise ValueError(f"{name} and prefer are two goals for one decoder; leave out one")
        if not self.trained() and not self.align and not self.added():
            raise ValueError("nothing would be learned: give an arrow, such as text->image, or align a weight above 0")
        if (alone := self.decoder_alone()) is not None and len(self.trained()) != 1:
            named = ", ".join(self.trained()) or "none"
            raise ValueError(f"{alone} trains the decoder of one arrow, and of arrows with a weight above 0 there are: {named}; leave one")
        return self

    @model_validator(mode="after")
    def _shifts(self) -> "ObjectivesConfig":
        if self.align_time_shifts is not None:
            shortest, longest = self.align_time_shifts
            if not 0 < shortest <= longest:
                raise ValueError(f"align_time_shifts: [{shortest:g}, {longest:g}] are not a shortest and a longest time above 0 in seconds")
            if not self.align:
                raise ValueError("align_time_shifts needs a weight: set align, too")
        return self

    def trained(self) -> list[str]:
        """Return the arrows that are trained: those whose weight is above 0, in the recipe's order."""
        return [arrow for arrow, weight in self.arrows.items() if weight]

    def added(self) -> dict[str, float]:
        """Return the terms of plugins whose weight is above 0, with it."""
        return {name: weight for name, weight in self.extra.items() if weight}

    def decoder_alone(self) -> str | None:
        """Return the section by which the decoder of the one arrow is trained, and it alone: `distil` or `prefer`; None where the whole model is."""
        return next((name for name in ("distil", "prefer") if getattr(self, name) is not None), None)

    def shifts(self) -> Shifts | None:
        """Return the time shifts as the loader takes them."""
        return None if self.align_time_shifts is None else Shifts(*self.align_time_shifts)

    def judged(self) -> str | None:
        """Return the arrow whose outputs a discriminator judges; None without `adversarial`."""
        if self.adversarial is None:
            return None
        return self.adversarial.arrow or next(iter(self.trained()), None)
