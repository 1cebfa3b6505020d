"""How much of the machine training uses: python benchmarks/training_efficiency.py RECIPE [a.b=c ...]

Model FLOPs (torch's FlopCounterMode: forward and backward, the optimizer not counted) a second of training, against the rate of a float32 product of two
2048 x 2048 matrices on the same cores in the same minute. Alone on the machine. Prints samples a second, both rates and their ratio.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from tonggan.training.beginning import begin, companion, trial
from tonggan.training.recipe import load_recipe
from tonggan.training.sources import open_data

SIDE, STEPS = 2048, 8


def matrix_rate(repeats: int = 12, *, now: Callable[[], float] = time.perf_counter) -> float:
    """Return the best of a few float32 products, in FLOP/s on the clock `now`."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    best = 0.0
    for _ in range(repeats):
        began = now()
        a @ b
        best = max(best, 2 * SIDE**3 / (now() - began))
    return best


def main() -> None:
    """Measure and print."""
    recipe = load_recipe(sys.argv[1], overrides=["device=cpu", *sys.argv[2:]])
    data = open_data(recipe, cache=Path("runs/packs"), console=Console())
    learner = trial(recipe, begin(recipe), data.loader, beside=companion(recipe), samples=4096)
    with FlopCounterMode(display=False) as counter:
        learner.advance(data.loader)
    before = matrix_rate()
    began = time.perf_counter()
    for _ in range(STEPS):
        learner.advance(data.loader)
    seconds = (time.perf_counter() - began) / STEPS
    reference = (before + matrix_rate()) / 2
    flops, batch = counter.get_total_flops(), recipe.schedule.batch_size
    print(
        f"{learner.dtype}: {batch / seconds:.1f} samples/s, {flops / batch / 1e9:.2f} GFLOP a sample, {flops / seconds / 1e9:.0f} GFLOP/s of the model"
    )
    print(f"float32 product: {reference / 1e9:.0f} GFLOP/s; ratio {flops / seconds / reference:.2f}")


if __name__ == "__main__":
    main()
