"""Adversarial losses on verdicts, and the zero-centred penalty on their slopes; who judges what is not known here.

A verdict is one number an output: the higher, the more real it seems. Relativistic pairing (Jolicoeur-Martineau 2018, arXiv:1807.00734) as R3GAN has it
(arXiv:2501.05441, equations 2 and 4), the non-saturating loss (Goodfellow et al. 2014, arXiv:1406.2661), hinge (arXiv:1705.02894).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Pairwise = Callable[[Tensor, Tensor], Tensor]
"""Two verdicts a row, (batch,) each -> (batch,)."""


@dataclass(frozen=True)
class Rule:
    """How verdicts become losses.

    Attributes:
        discriminator: (on real outputs, on others) -> what the discriminator descends.
        generator: (on made outputs, on real ones) -> what the generator descends.
        certainty: (on real outputs, on made ones) -> above zero where the discriminator takes the real one for real: what ADA looks at.
        paired: whether the generator's loss compares with real outputs.
    """

    discriminator: Pairwise
    generator: Pairwise
    certainty: Pairwise
    paired: bool


RULES: dict[str, Rule] = {
    # A verdict has no zero here, only differences count: the sign that ADA looks at is that of the difference.
    "relativistic": Rule(
        discriminator=lambda real, other: F.softplus(other - real),
        generator=lambda made, real: F.softplus(real - made),
        certainty=lambda real, made: real - made,
        paired=True,
    ),
    "non_saturating": Rule(
        discriminator=lambda real, other: F.softplus(-real) + F.softplus(other),
        generator=lambda made, real: F.softplus(-made),
        certainty=lambda real, made: real,
        paired=False,
    ),
    "hinge": Rule(
        discriminator=lambda real, other: F.relu(1 - real) + F.relu(1 + other),
        generator=lambda made, real: -made,
        certainty=lambda real, made: real,
        paired=False,
    ),
}


def squared_slopes(verdicts: Tensor, inputs: Tensor) -> Tensor:
    """Return |d verdict / d input|^2 a row, (batch,), itself differentiable: R1 on real inputs (Mescheder et al. 2018, arXiv:1801.04406), R2 on made ones.

    `inputs` (batch, ...) must need gradients, and row i of `verdicts` (batch,) depend on row i of them alone.
    """
    (slopes,) = torch.autograd.grad(verdicts.sum(), inputs, create_graph=True)
    return slopes.flatten(1).square().sum(1)


def feature_matching(made: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Return the mean over layers of |made - real|, in units of the layer's mean |real| (pix2pixHD, arXiv:1711.11585, equation 4).

    The units are ours: without them a discriminator, which is not told to keep its layers small, would set the weight.
    """
    distances = [(F.l1_loss(ours.float(), theirs.float()), theirs.float().abs().mean()) for ours, theirs in zip(made, real, strict=True)]
    return torch.stack([distance / usual.clamp_min(1e-6) for distance, usual in distances]).mean()
