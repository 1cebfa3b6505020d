"""How the judges that learn from real clips do it: from the same of them, in the same few hundred steps, whenever they are asked for."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

SEED = 0
LEARNING_RATE = 4e-3
Module = TypeVar("Module", bound=nn.Module)


def learned_from(rows: np.ndarray, most: int) -> np.ndarray:
    """Return the rows that a judge learns from: all, or `most` of them drawn by chance, the same at every call.

    Files often lie sorted by speaker or by class, so that the first ones would lack some.
    """
    return rows if len(rows) <= most else np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False))


def learned(make: Callable[[], Module], loss: Callable[[Module], Tensor], *, steps: int) -> Module:
    """Return the module that `make` makes after `steps` of AdamW on `loss`, which draws a batch at each call; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = make()
    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(module).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return module.eval()
