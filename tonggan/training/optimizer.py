"""Optimizers, learning rate and exponential moving average."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tonggan.errors import UserError
from tonggan.training.sections import OptimizerConfig, ScheduleConfig


class Muon(torch.optim.Muon):
    """torch's Muon, whose products are float32: its own are bfloat16, ten times slower on processors that do not have it."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every matrix along its orthogonalised momentum; takes no closure."""
        assert closure is None
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._move(matrix, group)

    def _move(self, matrix: Tensor, group: dict[str, Any]) -> None:
        state = self.state[matrix]
        assert matrix.grad is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        buffer = state["momentum_buffer"].lerp_(matrix.grad, 1 - group["momentum"])
        ahead = matrix.grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer
        rate = group["lr"] * 0.2 * max(matrix.shape) ** 0.5  # the rate that AdamW would have (arXiv:2502.16982, equation 4)
        matrix.mul_(1 - group["lr"] * group["weight_decay"])
        matrix.add_(orthogonalised(ahead, group["ns_coefficients"], steps=group["ns_steps"]), alpha=-rate)


def orthogonalised(matrix: Tensor, coefficients: tuple[float, float, float], *, steps: int) -> Tensor:
    """Return a matrix with the singular vectors of the given one and singular values near 1, by Newton-Schulz steps of fifth order (Jordan 2024)."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / matrix.norm().clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def build_optimizers(module: nn.Module, config: OptimizerConfig, *, dtype: str = "bfloat16") -> list[Optimizer]:
    """Return the optimizers of a player: one, or with Muon two (matrices of linear layers in blocks; everything else).

    `dtype` is the arithmetic of training, and of Muon's products: what is fast for the one is for the other. Raises `UserError` for a weight decay with
    `adam`, which has none.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if config.kind == "adam":
        if config.weight_decay not in (0, OptimizerConfig().weight_decay):  # the default is written into every stored configuration
            raise UserError(f"optimizer.weight_decay is {config.weight_decay:g}, and adam has none. Set optimizer.kind to adamw, or leave it out.")
        return [torch.optim.Adam(parameters, lr=config.learning_rate, betas=config.betas, fused=True)]
    matrices = _block_matrices(module) if config.kind == "muon" else []
    chosen = {id(matrix) for matrix in matrices}
    rest = [parameter for parameter in parameters if id(parameter) not in chosen]
    decayed = [parameter for parameter in rest if parameter.ndim >= 2]
    free = [parameter for parameter in rest if parameter.ndim < 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    optimizers: list[Optimizer] = [torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)]
    if matrices:
        kind = Muon if dtype == "float32" else torch.optim.Muon
        muon = kind(matrices, lr=config.muon_learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")
        optimizers.append(muon)
    return optimizers


def _block_matrices(module: nn.Module) -> list[nn.Parameter]:
    """Return the weights of linear layers that repeat in a list of blocks: Muon is for hidden matrices, not for embeddings and ends."""
    lists = [child for child in module.modules() if isinstance(child, nn.ModuleList)]
    weights = [layer.weight for blocks in lists for layer in blocks.modules() if isinstance(layer, nn.Linear)]
    unique = {id(weight): weight for weight in weights if isinstance(weight, nn.Parameter) and weight.requires_grad}
    return list(unique.values())


def learning_rate_factor(samples: int, *, total: int, schedule: ScheduleConfig) -> float:
    """Return the factor on the peak rate after `samples` of `total`: linear warm-up, constant, linear decay to zero (WSD, arXiv:2404.06395)."""
    warm = min(1.0, (samples + schedule.batch_size) / max(schedule.warmup_samples, 1))
    decay = max(schedule.decay_share * total, 1)
    return warm * min(1.0, max(0.0, (total - samples) / decay))


def set_learning_rate(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Scale every group's peak rate: the one that it was built with."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("peak", group["lr"]) * factor


def statistics(module: nn.Module) -> dict[str, Tensor]:
    """Return the means and variances that batch normalisation keeps, by name."""
    kept: dict[str, Tensor] = {}
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._NormBase):
            kept |= {f"{name}.{own}": each for own, each in layer.named_buffers(recurse=False) if each.is_floating_point()}
    return kept


class MovingAverage:
    """Exponential moving average of what training moves: parameters, and the statistics that layers keep (batch normalisation's) beside them.

    Short at first, so that early pictures are not those of the start (EDM2, arXiv:2312.02696).
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        moving = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad} | statistics(module)
        self.names = list(moving)
        self.live: list[Tensor] = list(moving.values())
        self.average = [each.detach().clone() for each in self.live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the live parameters after optimizer step number `step` (from 1): decay = min(decay, step / (step + 10))."""
        torch._foreach_lerp_(self.average, self.live, 1 - min(self.decay, step / (step + 10)))

    def state(self) -> dict[str, Tensor]:
        """Return the averages by the names of what they follow."""
        return dict(zip(self.names, self.average, strict=True))

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned; statistics, which checkpoints of before 2026-11-26 lack, begin as the live ones are."""
        for name, live, average in zip(self.names, self.live, self.average, strict=True):
            average.copy_(state[name] if isinstance(live, nn.Parameter) else state.get(name, live))

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange averages and live parameters; called twice, everything is as before."""
        for live, average in zip(self.live, self.average, strict=True):
            kept = live.detach().clone()
            live.copy_(average)
            average.copy_(kept)
