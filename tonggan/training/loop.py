"""The loop: one for every model, recipe and direction. It knows players (parameters and the loss they descend) and nothing of what they are.

All randomness of a step comes from a generator seeded by (seed, step), the order of samples from (seed, position): a resumed run repeats the run
that was never stopped, bit for bit on the same thread count (the scheme of EDM2, arXiv:2312.02696).
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tonggan.data.loader import Batch, Loader
from tonggan.data.preferences import Pairs
from tonggan.data.windows import Shifted
from tonggan.errors import UserError, nearest
from tonggan.model import CrossModalModel
from tonggan.objectives.terms import Checkup
from tonggan.players import Player, players
from tonggan.training.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer
from tonggan.training.optimizer import MovingAverage, build_optimizers, learning_rate_factor, set_learning_rate, statistics
from tonggan.training.recipe import Recipe
from tonggan.training.sources import HELD_OUT_SEED


def step_randomness(seed: int, step: int) -> torch.Generator:
    """Return the generator of one step: a function of (seed, step) alone."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) & (2**63 - 1))


def arithmetic(dtype: str, device: str) -> Callable[[], AbstractContextManager]:
    """Return the context in which losses are computed: autocast for bfloat16, nothing for float32."""
    if dtype == "bfloat16":
        return lambda: torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
    return nullcontext


@dataclass(frozen=True)
class StepReport:
    """What one step was: the loss terms, the norm of the gradient before clipping, whether the step was dropped, and seconds spent."""

    losses: Mapping[str, float]
    gradient_norm: float
    dropped: bool
    data_seconds: float
    seconds: float


@dataclass
class Learner:
    """A model in training: players, optimizers, average, and the counters that a checkpoint keeps."""

    model: CrossModalModel
    recipe: Recipe
    total_samples: int
    dtype: str
    device: str = "cpu"
    step: int = 0
    dropped: int = 0
    dropped_by: tuple[str, ...] = ()
    """Players whose loss was not finite in the last step that was dropped."""
    best: float = math.inf
    """The lowest score so far of what the best average is chosen by, infinite before there is one."""
    trained_seconds: float = 0.0
    teacher: CrossModalModel | None = None
    players: list[Player] = field(init=False)
    beside: list[Player] = field(init=False)
    """Players whose parameters are not the model's: they are in checkpoints, not in what is exported."""

    def __post_init__(self) -> None:
        self.model.to(torch.device(self.device)).to(memory_format=torch.channels_last)
        freeze(self.model, self.recipe.frozen)
        self.players = players(self.model, self.recipe.objectives, teacher=self.teacher)
        check_learning(self.model, self.recipe)
        self._set_training()
        own = set(self.model.modules())
        self.beside = [player for player in self.players if player.module not in own]
        for player in self.beside:
            player.module.to(torch.device(self.device)).to(memory_format=torch.channels_last).train()
        optimizer = self.recipe.optimizer
        self.optimizers = {
            player.name: build_optimizers(player.module, optimizer.model_copy(update=dict(player.optimizer)), dtype=self.dtype)
            for player in self.players
        }
        self.average = MovingAverage(self.model, decay=self.recipe.ema_decay)
        self.counted = list(statistics(self.model).values())
        self.autocast = arithmetic(self.dtype, self.device)

    @property
    def samples(self) -> int:
        """Samples seen so far."""
        return self.step * self.recipe.schedule.batch_size

    @property
    def finished(self) -> bool:
        """Whether all samples of the schedule were seen."""
        return self.samples >= self.total_samples

    def advance(self, loader: Loader) -> StepReport:
        """Take one step: every player descends its loss on the next batch, one after the other.

        A player whose loss or gradient is not finite does not move; the step counts as dropped then, and the average follows where the first player moved.
        """
        began = time.perf_counter()
        batch = to_device(loader.batch(self.samples), self.device)
        loaded = time.perf_counter()
        factor = learning_rate_factor(self.samples, total=self.total_samples, schedule=self.recipe.schedule)
        randomness = step_randomness(self.recipe.seed, self.step)
        torch.manual_seed(randomness.initial_seed())  # what draws from the global generator (dropout of pretrained networks) repeats, too
        losses: dict[str, float] = {}
        before = [each.clone() for each in self.counted]
        norms, moved = dict[str, float](), list[bool]()
        for player in self.players:
            set_learning_rate(self.optimizers[player.name], factor)
            terms, norm, finite = self._descend(player, batch, randomness)
            norms[player.name] = norm
            # The first player's names stand alone, as where there is no other.
            losses |= (
                terms if player is self.players[0] else {f"{player.name} {name}": value for name, value in (terms | {"gradient_norm": norm}).items()}
            )
            moved.append(finite)
        self.step += 1
        dropped = not all(moved)
        self.dropped += dropped
        if dropped:
            self.dropped_by = tuple(player.name for player, went in zip(self.players, moved, strict=True) if not went)
        if not moved[0]:
            for counted, kept in zip(self.counted, before, strict=True):
                counted.copy_(kept)
        if moved[0]:
            self.average.update(self.step)
        ended = time.perf_counter()
        self.trained_seconds += ended - began
        return StepReport(losses, norms[self.players[0].name], dropped, loaded - began, ended - began)

    def _descend(self, player: Player, batch: Batch, randomness: torch.Generator) -> tuple[dict[str, float], float, bool]:
        player.module.zero_grad(set_to_none=True)
        with self.autocast():
            terms = player.loss(batch, randomness)
        total = terms.total
        if not torch.isfinite(total):
            return terms.detached(), math.nan, False
        total.backward()
        norm = nn.utils.clip_grad_norm_(player.module.parameters(), self.recipe.optimizer.clip_norm)
        if not torch.isfinite(norm):
            return terms.detached(), float(norm), False
        for optimizer in self.optimizers[player.name]:
            optimizer.step()
        if player.moved is not None:
            player.moved(float(norm))
        return terms.detached(), float(norm), True

    def check_dropped(self) -> None:
        """Raise `UserError` where too many steps had a non-finite loss."""
        rate = self.dropped / max(self.step, 1)
        if self.dropped > 5 and rate > self.recipe.monitor.max_dropped_rate:
            beside = {player.name for player in self.beside}.intersection(self.dropped_by)
            lower = f"objectives.adversarial.learning_rate or a higher penalty (the {beside.pop()} broke)" if beside else "optimizer.learning_rate"
            raise UserError(
                f"{self.dropped} of {self.step} steps had a loss that is not finite. Try a lower {lower}{'' if self.dtype == 'float32' else ', or dtype=float32'}."
            )

    def snapshot(self) -> Checkpoint:
        """Return all that is needed to go on exactly."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state().items()}
        for player in self.beside:
            tensors |= {f"player.{player.name}.{name}": value for name, value in player.module.state_dict().items()}
        for name, optimizers in self.optimizers.items():
            for index, optimizer in enumerate(optimizers):
                tensors |= optimizer_tensors(optimizer, f"optimizer.{name}.{index}")
        facts = {"samples": self.samples, "dropped": self.dropped, "best": self.best, "trained_seconds": self.trained_seconds, "dtype": self.dtype}
        return Checkpoint(self.step, tensors, facts)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to what `snapshot` returned; raises `UserError` where the model, its average or a player is missing or another one."""
        tensors = checkpoint.tensors
        for player in self.beside:
            player.module.load_state_dict(_fitting(player, checkpoint))
        if checkpoint.step > checkpoint.facts["dropped"] and not strip(tensors, "optimizer."):
            raise UserError(
                f"the checkpoint of step {checkpoint.step:,} lacks the state of the optimizers: what was trained cannot go on as if it had never stopped. "
                "Begin another run from it with initial=RUN."
            )
        model, average, counted = strip(tensors, "model."), strip(tensors, "average."), statistics(self.model)
        then = "Training cannot go on from it: remove its folder to go on from the one before, or start a new run."
        check_fitting(self.model.state_dict(), model, of="model", step=checkpoint.step, then=then)
        followed = {name: each for name, each in self.average.state().items() if name in average or name not in counted}
        check_fitting(followed, average, of="average", step=checkpoint.step, then=then)
        self.model.load_state_dict(model)
        self.average.load(average)
        for name, optimizers in self.optimizers.items():
            for index, optimizer in enumerate(optimizers):
                restore_optimizer(optimizer, tensors, f"optimizer.{name}.{index}")
        self.step = checkpoint.step
        self.dropped, self.best = checkpoint.facts["dropped"], checkpoint.facts["best"]
        self.trained_seconds = checkpoint.facts["trained_seconds"]

    def _set_training(self) -> None:
        """Set training mode; what does not learn stays in evaluation mode, so that what its layers count (batch normalisation) does not move either."""
        self.model.eval()
        self.players[0].module.train()  # the model, or of it a decoder alone
        modules = dict(self.model.named_modules())
        for name in self.recipe.frozen:
            if name in modules:
                modules[name].eval()

    @contextmanager
    def averaged(self) -> Iterator[CrossModalModel]:
        """The model as its average, in evaluation mode; afterwards training goes on as if nothing had been."""
        self.average.swap()
        self.model.eval()
        try:
            yield self.model
        finally:
            self._set_training()
            self.average.swap()

    @torch.no_grad()
    def held_out_loss(self, batches: list[Batch]) -> dict[str, float]:
        """Return the first player's losses, of the averaged model, on fixed batches with fixed noise and times: the same grid in every run.

        Every row counts alike, though the last batch may be smaller.
        """
        sums, rows = dict[str, float](), sum(len(batch.indices) for batch in batches)
        with self.averaged():
            for index, batch in enumerate(batches):
                randomness = step_randomness(HELD_OUT_SEED, index)
                with self.autocast():
                    terms = self.players[0].loss(to_device(batch, self.device), randomness)
                for name, value in terms.detached().items():
                    sums[name] = sums.get(name, 0.0) + value * len(batch.indices) / rows
        return sums

    @torch.no_grad()
    def look(self, batches: Sequence[Batch]) -> dict[str, Checkup]:
        """Return what a look at each player that wants one found, by its name."""
        looks = [(player.name, player.look) for player in self.players if player.look is not None]
        if not looks:
            return {}
        self.model.eval()
        found = {name: look([to_device(batch, self.device) for batch in batches]) for name, look in looks}
        self._set_training()
        return found


def freeze(module: nn.Module, names: Sequence[str]) -> None:
    """Keep the parameters below each of `names` as they are; raises `UserError` for a name that the module does not have."""
    known = dict(module.named_modules()) | dict(module.named_parameters())
    for name in names:
        if name not in known:
            beside = {each for each in known if each.count(".") == name.count(".")}
            raise UserError(f"frozen: the model has no '{name}'.{nearest(name, beside)}")
        known[name].requires_grad_(False)


def check_learning(model: CrossModalModel, recipe: Recipe) -> None:
    """Raise `UserError` where of a model, frozen as the recipe has it, nothing is left that its objectives could teach."""
    if not model.can_learn(recipe.objectives):
        raise UserError(f"frozen: {', '.join(recipe.frozen)} leave nothing of the model that could learn. Leave one out.")


def _fitting(player: Player, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Return a player's tensors as a checkpoint has them; those of its `watch` that it has otherwise, or has not, as they are in the player.

    Raises `UserError` where another one is missing or of another shape.
    """
    own = player.module.state_dict()
    kept = {name: value for name, value in strip(checkpoint.tensors, f"player.{player.name}.").items() if name in own}
    watching = [name for name in own if player.watch and name.startswith(f"{player.watch}.")]
    anew = {name: own[name] for name in watching if name not in kept or kept[name].shape != own[name].shape}
    then = f"The model in it draws, but training cannot go on from it; begin another run from it with initial=RUN, whose {player.name} starts anew."
    check_fitting(own, kept | anew, of=player.name, step=checkpoint.step, then=then)
    return kept | anew


def check_fitting(own: Mapping[str, torch.Tensor], kept: Mapping[str, torch.Tensor], *, of: str, step: int, then: str) -> None:
    """Raise `UserError`, which says what to do `then`, where a checkpoint's tensors are not those, each of its shape, that what they are `of` has."""
    wrong = {
        f"lacks tensors of the {of}": own.keys() - kept.keys(),
        f"has tensors that the {of} has not": kept.keys() - own.keys(),
        f"has tensors of the {of} in another shape": {name for name in own.keys() & kept.keys() if own[name].shape != kept[name].shape},
    }
    for what, names in wrong.items():
        if names:
            raise UserError(f"the checkpoint of step {step:,} {what} ({len(names)}, first: {min(names)}). {then}")


def strip(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors below `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def to_device(batch: Batch, device: str) -> Batch:
    """Return a batch with tensors on `device`."""

    def moved(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in values.items()}

    inputs = moved(batch.inputs)
    changes = None if batch.changes is None else batch.changes.to(device)
    pairs = None if batch.pairs is None else Pairs(**moved(vars(batch.pairs)))
    shifted = None if batch.shifted is None else Shifted(moved(batch.shifted.inputs), batch.shifted.real.to(device))
    return Batch(inputs, inputs if batch.targets is batch.inputs else moved(batch.targets), batch.indices, changes, pairs, shifted)
