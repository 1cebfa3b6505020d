"""Recipes of the package as competitors: ours, the article's system, and those with a discriminator. Trained by the package's own `Run`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from peers.clock import spent_seconds
from peers.peer import Arena, Pace, Pictures
from peers.sentences import minilm_folder
from tonggan.data.loader import Batch, Loader
from tonggan.pipeline import Tonggan
from tonggan.training.beginning import begin, companion, trial
from tonggan.training.checkpoint import Checkpoint
from tonggan.training.loop import Learner
from tonggan.training.recipe import Recipe, load_recipe, parse_recipe
from tonggan.training.run import Run
from tonggan.training.sources import open_data

FINISH_SHARE = 0.25
"""Share of the budget in which a flow decoder is finished against a discriminator."""
WARMUP_SHARE = 0.06
"""Largest share of the samples that warm-up may take where the budget is short; it is the recipe's own share."""


class _Given:
    """A loader that gives one batch: the race has taken it from the stream already."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def batch(self, position: int) -> Batch:
        return self._batch


class RecipePeer:
    """A `Run` in `folder`, stepped by the race; it stays a run that `tonggan draw --model` and `tonggan train --resume` understand."""

    guidance_scale: float | None

    def __init__(self, name: str, recipe: Recipe, folder: Path, *, arena: Arena, resume: bool) -> None:
        self.name, self.guidance_scale = name, None
        self.run = Run(recipe, folder, resume=resume, console=arena.console, cache=arena.pack.path.parent)
        self.batch_size = recipe.schedule.batch_size
        self._drawing: tuple[int, Tonggan] | None = None

    @property
    def learner(self) -> Learner:
        """What the run trains."""
        return self.run.learner

    def parameter_count(self) -> int:
        """Return how many parameters are trained, those of every player."""
        every = {parameter for player in self.learner.players for parameter in player.module.parameters() if parameter.requires_grad}
        return sum(parameter.numel() for parameter in every)

    def step(self, batch: Batch, pace: Pace) -> float:
        """Let the learner take its step; the end of its schedule is moved to where the budget ends at the rate so far."""
        if pace.share > 0 and self.learner.samples:
            self.learner.total_samples = max(self.learner.samples + self.batch_size, round(self.learner.samples / pace.share))
        report = self.learner.advance(cast(Loader, _Given(batch)))
        self.learner.check_dropped()
        return float(report.losses["loss"])

    def held_out_loss(self, batches: Sequence[Batch]) -> float:
        """Return the averaged weights' loss."""
        return self.learner.held_out_loss(list(batches))["loss"]

    def draw(self, captions: Sequence[str], seeds: Sequence[int]) -> Pictures:
        """Export the averaged weights, load them as a user would, and draw."""
        pictures = self._exported().generate(list(captions), to="image", seeds=list(seeds))
        return np.stack([np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0) for picture in pictures])

    def _exported(self) -> Tonggan:
        if self._drawing is None or self._drawing[0] != self.learner.step:
            self.run.export(self.run.out / "model")
            self._drawing = (self.learner.step, Tonggan.from_pretrained(self.run.out / "model", device="cpu"))
        return self._drawing[1]

    def settings(self) -> dict[str, Any]:
        """Return the decoder's settings."""
        return self._exported().settings()

    def snapshot(self) -> Checkpoint:
        """Return the learner's state."""
        return self.learner.snapshot()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what `snapshot` returned."""
        self.learner.restore(checkpoint)


class FinishedPeer:
    """`emoji-64` for most of the budget, then `emoji-64-fast` from there: the flow decoder's first step against a discriminator."""

    guidance_scale: float | None

    def __init__(self, arena: Arena, folder: Path, *, resume: bool) -> None:
        self.name, self.guidance_scale, self.arena, self.folder = "emoji-64-finished", None, arena, folder
        first = folder / "flow"
        recipe = _resumed(first) if resume else _planned(arena.recipe, replace(arena, budget_seconds=(1 - FINISH_SHARE) * arena.budget_seconds))
        # The race keeps the state of both; their own folders hold none, so that each begins anew and is brought back by `restore`.
        self.flow = RecipePeer(self.name, recipe, first, arena=arena, resume=False)
        self.batch_size = self.flow.batch_size
        self.finish: RecipePeer | None = None

    @property
    def now(self) -> RecipePeer:
        """Return the run that learns now."""
        return self.finish or self.flow

    def parameter_count(self) -> int:
        """Return how many parameters are trained now, those of every player."""
        return self.now.parameter_count()

    def step(self, batch: Batch, pace: Pace) -> float:
        """Let the run whose turn it is take its step, by its own share of the budget."""
        learned = 1 - FINISH_SHARE
        if self.finish is None and pace.share < learned:
            return self.flow.step(batch, Pace(pace.step, pace.share / learned))
        self.finish = self.finish or self._begun()
        return self.finish.step(batch, Pace(pace.step, (pace.share - learned) / FINISH_SHARE))

    def _begun(self) -> RecipePeer:
        learned = self.folder / "learned"
        if not learned.is_dir():
            self.flow.run.export(learned)
        recipe = load_recipe("emoji-64-fast", overrides=[f"initial={learned}", f"schedule.batch_size={self.batch_size}"], smoke=self.arena.smoke)
        monitor = recipe.monitor.model_copy(update={"tensorboard": False})
        told = {"data": self.arena.recipe.data, "seed": self.arena.recipe.seed, "device": "cpu", "dtype": self.arena.dtype, "monitor": monitor}
        return RecipePeer(self.name, recipe.model_copy(update=told), self.folder / "finish", arena=self.arena, resume=False)

    def held_out_loss(self, batches: Sequence[Batch]) -> float:
        """Return the averaged weights' loss."""
        return self.now.held_out_loss(batches)

    def draw(self, captions: Sequence[str], seeds: Sequence[int]) -> Pictures:
        """Draw as a user would with what has been learned."""
        return self.now.draw(captions, seeds)

    def settings(self) -> dict[str, Any]:
        """Return the decoder's settings."""
        return self.now.settings()

    def snapshot(self) -> Checkpoint:
        """Return the state of the run that learns now; the other does not change any more."""
        state = self.now.snapshot()
        return Checkpoint(state.step, state.tensors, dict(state.facts) | {"finishing": self.finish is not None})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what `snapshot` returned."""
        if checkpoint.facts["finishing"]:
            self.finish = self.finish or self._begun()
        else:
            self.finish = None
        self.now.restore(checkpoint)


def finished(arena: Arena, folder: Path, learning_rate: float, resume: bool) -> FinishedPeer:
    """`tonggan train emoji-64`, then `tonggan train emoji-64-fast` from it."""
    return FinishedPeer(arena, folder, resume=resume)


def ours(arena: Arena, folder: Path, learning_rate: float, resume: bool) -> RecipePeer:
    """`tonggan train emoji-64`."""
    recipe = _resumed(folder) if resume else _planned(arena.recipe, arena)
    return RecipePeer("tonggan", recipe, folder, arena=arena, resume=resume)


def shipped(name: str) -> Callable[[Arena, Path, float, bool], RecipePeer]:
    """`tonggan train NAME` on the same rows and phrasings, the article's systems with the frozen MiniLM as their BERT."""

    def build(arena: Arena, folder: Path, learning_rate: float, resume: bool) -> RecipePeer:
        if resume:
            return RecipePeer(name, _resumed(folder), folder, arena=arena, resume=True)
        overrides = [f"model.encoders.text.model={minilm_folder()}"] if name.startswith("article") else []
        recipe = load_recipe(name, overrides=overrides, smoke=arena.smoke)
        recipe = recipe.model_copy(update={"data": arena.recipe.data, "seed": arena.recipe.seed})
        return RecipePeer(name, _planned(recipe, arena), folder, arena=arena, resume=False)

    return build


def _resumed(folder: Path) -> Recipe:
    kept = folder / "run.json"
    return parse_recipe(json.loads(kept.read_text(encoding="utf-8"))["recipe"], where=str(kept))


def _planned(recipe: Recipe, arena: Arena) -> Recipe:
    """Return the recipe with as many samples as a few measured steps say the budget holds."""
    monitor = recipe.monitor.model_copy(update={"tensorboard": False})
    recipe = recipe.model_copy(update={"device": "cpu", "dtype": arena.dtype, "monitor": monitor})
    batch_size = recipe.schedule.batch_size
    samples = max(batch_size, int(_samples_per_second(recipe, arena) * arena.budget_seconds) // batch_size * batch_size)
    warmup = min(recipe.schedule.warmup_samples, int(WARMUP_SHARE * samples))
    return recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"samples": samples, "epochs": None, "warmup_samples": warmup})})


def _samples_per_second(recipe: Recipe, arena: Arena, *, steps: int = 2) -> float:
    data = open_data(recipe, cache=arena.pack.path.parent, console=arena.console)
    learner = trial(recipe, begin(recipe), data.loader, beside=companion(recipe))
    learner.advance(data.loader)
    began = spent_seconds()
    for _ in range(steps):
        learner.advance(data.loader)
    return steps * recipe.schedule.batch_size / (spent_seconds() - began)
