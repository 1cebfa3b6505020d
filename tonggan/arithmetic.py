"""Where this machine computes, and which arithmetic is fast and right there: measured in a second, not read from the processor's flags."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tonggan.errors import UserError

WORTHWHILE = 1.3
"""How many times faster half precision must be, in linears and in convolutions, before it is chosen."""
TOLERANCE = 0.03
"""Largest relative error of a half-precision result that counts as right (bfloat16 has eight bits of mantissa)."""


@dataclass(frozen=True)
class Rate:
    """Measured rate of forward + backward in GFLOP/s, and the relative error of the half-precision result."""

    float32: float
    bfloat16: float
    error: float


@dataclass(frozen=True)
class DtypeChoice:
    """The dtype to train in, and why."""

    dtype: str
    reason: str
    rates: Mapping[str, Rate]


def choose_device(asked: str = "auto") -> str:
    """Return the device that `auto` stands for, a GPU of CUDA or ROCm where PyTorch sees one and else the CPU, or the one that is asked for.

    Raises `UserError` where there is none of that name here.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=asked)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # what it says differs from device to device
        raise UserError(
            f"device={asked}: PyTorch {torch.__version__} finds no such device here ({str(error).splitlines()[0].rstrip('.')}). "
            "Choose cpu or auto, or install the PyTorch that is made for it."
        ) from error
    return asked


def choose_dtype(device: str = "cpu") -> DtypeChoice:
    """Choose between float32 and bfloat16 autocast by measuring both on a CPU, by what the GPU says it has; float16 never."""
    kind = torch.device(device).type
    if kind == "cuda":
        good = torch.cuda.is_bf16_supported(including_emulation=False)
        return DtypeChoice("bfloat16" if good else "float32", f"the GPU {'has' if good else 'lacks'} bfloat16", {})
    if kind != "cpu":
        return DtypeChoice("float32", f"on '{kind}' nothing else was tried", {})
    return decide({"linear": _measure_linear(), "convolution": _measure_convolution()})


def decide(rates: Mapping[str, Rate]) -> DtypeChoice:
    """Return the choice for measured rates: bfloat16 only where it is right and clearly faster in every kind of layer."""
    wrong = [name for name, rate in rates.items() if not rate.error <= TOLERANCE]
    if wrong:
        return DtypeChoice("float32", f"bfloat16 gives wrong results here ({', '.join(wrong)})", rates)
    gains = {name: rate.bfloat16 / rate.float32 for name, rate in rates.items()}
    told = ", ".join(f"{name} {gain:.1f} x" for name, gain in gains.items())
    if min(gains.values()) >= WORTHWHILE:
        return DtypeChoice("bfloat16", f"bfloat16 against float32 on this machine: {told}", rates)
    return DtypeChoice("float32", f"bfloat16 does not pay on this machine: {told}", rates)


def _measure_linear() -> Rate:
    layer = nn.Linear(384, 1536)
    inputs = torch.randn(4096, 384, generator=torch.Generator().manual_seed(0), requires_grad=True)
    return _measure(layer, inputs, flops=3 * 2 * 4096 * 384 * 1536)


def _measure_convolution() -> Rate:
    layer = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    inputs = torch.randn(16, 64, 32, 32, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last).requires_grad_()
    return _measure(layer, inputs, flops=3 * 2 * 16 * 32 * 32 * 64 * 64 * 9)


def _measure(layer: nn.Module, inputs: Tensor, *, flops: int) -> Rate:
    def step(half: bool) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            made = layer(inputs)
        layer.zero_grad()
        made.float().square().sum().backward()
        return torch.cat(
            [made.detach().float().flatten(), *(parameter.grad.flatten() for parameter in layer.parameters() if parameter.grad is not None)]
        )

    full, half = step(False), step(True)
    error = float((full - half).norm() / full.norm())
    seconds = _seconds(lambda: step(False), lambda: step(True))
    return Rate(flops / seconds[0] / 1e9, flops / seconds[1] / 1e9, error)


def _seconds(*works: Callable[[], object], budget: float = 0.4) -> list[float]:
    """Return the shortest run of each within a budget of seconds; they take turns, so that a moment in which the machine is slow falls on all alike."""
    best, began = [float("inf")] * len(works), time.perf_counter()
    while time.perf_counter() - began < budget:
        for index, work in enumerate(works):
            start = time.perf_counter()
            work()
            best[index] = min(best[index], time.perf_counter() - start)
    return best
