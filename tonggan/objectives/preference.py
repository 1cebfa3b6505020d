"""Learning from preferences without a model of rewards: the one place that defines the objective.

Diffusion-DPO (Wallace et al. 2023, arXiv:2311.12908, equation 14) with velocities in place of noise, as in Flow-DPO (Liu et al. 2025,
arXiv:2501.13918, section 4.2): what a model makes likelier than its reference did is what it predicts with a smaller error.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Preference:
    """Scalars: the loss; the mean margin of the implicit reward of chosen over rejected; the share of pairs in which it is above zero."""

    loss: Tensor
    margin: Tensor
    agreed: Tensor


def implicit_reward(error: Tensor, reference_error: Tensor, *, beta: float) -> Tensor:
    """Return -beta (|error|^2 - |reference error|^2), squares averaged over the numbers of an output: (batch, ...) twice -> (batch,).

    `beta` stands for beta T omega(lambda_t) of equation 14, the same at every time, which Flow-DPO found better than weights that fall with it.
    """
    return -beta * ((error**2).flatten(1).mean(1) - (reference_error**2).flatten(1).mean(1))


def preference(chosen: Tensor, rejected: Tensor) -> Preference:
    """Return -log sigmoid of the rewards' difference, averaged over pairs; `chosen` and `rejected` (batch,) are implicit rewards at one noise and time."""
    margin = chosen - rejected
    with torch.no_grad():
        agreed = (margin > 0).float().mean()
    return Preference(-F.logsigmoid(margin).mean(), margin.detach().mean(), agreed)
