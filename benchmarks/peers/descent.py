"""A module in training: optimizer, average and their state. The package's own pieces, without its recipe."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from tonggan.training.checkpoint import optimizer_tensors, restore_optimizer
from tonggan.training.loop import arithmetic, strip
from tonggan.training.optimizer import MovingAverage, build_optimizers, set_learning_rate
from tonggan.training.recipe import OptimizerConfig

Trained = TypeVar("Trained", bound=nn.Module)


class Descent(Generic[Trained]):
    """A module (convolutions channels-last) with a fused optimizer and a moving average; `autocast()` is the arithmetic of its losses."""

    def __init__(self, module: Trained, config: OptimizerConfig, *, dtype: str, ema_decay: float = 0.998) -> None:
        self.module = module.to(memory_format=torch.channels_last).train()
        self.clip_norm = config.clip_norm
        self.optimizers = build_optimizers(self.module, config)
        self.average = MovingAverage(self.module, decay=ema_decay)
        self.autocast = arithmetic(dtype, "cpu")

    def parameter_count(self) -> int:
        """Return how many parameters are trained."""
        return sum(parameter.numel() for parameter in self.module.parameters() if parameter.requires_grad)

    def descend(self, loss: Tensor, *, step: int, factor: float) -> float:
        """Take optimizer step number `step` (from 0) at `factor` times the peak learning rate; a loss that is not finite changes nothing."""
        self.module.zero_grad(set_to_none=True)
        if not torch.isfinite(loss):
            return math.nan
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.clip_norm)
        if torch.isfinite(norm):
            set_learning_rate(self.optimizers, factor)
            for optimizer in self.optimizers:
                optimizer.step()
            self.average.update(step + 1)
        return float(loss.detach())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged weights in place, in evaluation mode and without gradients."""
        self.average.swap()
        self.module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.module.train()
            self.average.swap()

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Return the state as flat names below `prefix`."""
        found = {f"{prefix}.model.{name}": value for name, value in self.module.state_dict().items()}
        found |= {f"{prefix}.average.{name}": value for name, value in self.average.state().items()}
        for index, optimizer in enumerate(self.optimizers):
            found |= optimizer_tensors(optimizer, f"{prefix}.optimizer.{index}")
        return found

    def restore(self, tensors: Mapping[str, Tensor], prefix: str) -> None:
        """Put back what `tensors` returned."""
        self.module.load_state_dict(strip(tensors, f"{prefix}.model."))
        self.average.load(strip(tensors, f"{prefix}.average."))
        for index, optimizer in enumerate(self.optimizers):
            restore_optimizer(optimizer, dict(tensors), f"{prefix}.optimizer.{index}")
