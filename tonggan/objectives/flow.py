"""Flow matching on straight lines: the one place that defines path, target, time density and solver.

Convention of the house: t in [0, 1], x_0 is noise, x_1 is data, x_t = t x_1 + (1 - t) x_0, and the velocity along the path is v = x_1 - x_0
(Lipman et al. 2023, arXiv:2210.02747, with sigma_min = 0; Liu et al. 2023, arXiv:2209.03003).
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

MIN_REMAINING_TIME = 0.05
"""In a loss, 1 - t is never divided by less than this (JiT, arXiv:2511.13720): a prediction of the data says little about the velocity just before the end."""


def expand_as(times: Tensor, like: Tensor) -> Tensor:
    """Give `times` (batch,) trailing axes of length one, so that it multiplies `like` (batch, ...)."""
    return times.reshape(-1, *[1] * (like.ndim - 1))


def interpolate(noise: Tensor, data: Tensor, times: Tensor) -> Tensor:
    """Return x_t = t x_1 + (1 - t) x_0 for `times` (batch,)."""
    t = expand_as(times, data)
    return t * data + (1 - t) * noise


def velocity_from_data(predicted_data: Tensor, x_t: Tensor, times: Tensor) -> Tensor:
    """Return the velocity that leads from x_t to `predicted_data` until t = 1: (x_1 - x_t) / (1 - t), for `times` (batch,) below 1.

    As it is, however near the end: a solver that follows it arrives at the last prediction, in as many steps as it likes.
    """
    return (predicted_data - x_t) / expand_as(1 - times, x_t)


def velocity_error(predicted_data: Tensor, data: Tensor, times: Tensor) -> Tensor:
    """Return how far the velocity to `predicted_data` is from the one to `data`: (x_1' - x_1) / (1 - t), with 1 - t held above `MIN_REMAINING_TIME`."""
    return (predicted_data - data) / expand_as(1 - times, data).clamp_min(MIN_REMAINING_TIME)


def sample_times(count: int, *, randomness: torch.Generator, mean: float, spread: float) -> Tensor:
    """Draw `count` times from the logit-normal density (Esser et al. 2024, arXiv:2403.03206, section 3.1), one from each of `count` equal slices.

    The slices make the mean loss of a batch far less noisy and leave each time's density as it is. A negative `mean` favours noisy pictures.
    """
    slots = (torch.randperm(count, generator=randomness) + torch.rand(count, generator=randomness)) / count
    quantiles = torch.special.ndtri(slots.clamp(1e-6, 1 - 1e-6))
    return torch.sigmoid(mean + spread * quantiles)


def time_grid(steps: int, *, shift: float = 1.0) -> Tensor:
    """Return `steps` + 1 rising times from 0 to 1: equally spaced, or (`shift` above 1) closer together near noise (Esser et al. 2024, equation 23)."""
    slots = torch.linspace(0, 1, steps + 1)
    return slots / (slots + shift * (1 - slots))


Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x (batch, ...), t ()) -> velocity (batch, ...)."""


def euler(field: Velocity, x: Tensor, grid: Tensor) -> Tensor:
    """Integrate dx/dt = field(x, t) over `grid` with first-order steps: one evaluation a step."""
    for now, then in pairwise(grid):
        x = x + (then - now) * field(x, now)
    return x


def heun(field: Velocity, x: Tensor, grid: Tensor) -> Tensor:
    """Integrate with Heun's second-order steps (trapezoid): two evaluations a step, one in the last (Karras et al. 2022, algorithm 1)."""
    for index, (now, then) in enumerate(pairwise(grid)):
        slope = field(x, now)
        ahead = x + (then - now) * slope
        if index < len(grid) - 2:
            ahead = x + (then - now) * (slope + field(ahead, then)) / 2
        x = ahead
    return x


def multistep(field: Velocity, x: Tensor, grid: Tensor) -> Tensor:
    """Integrate with the two-step Adams-Bashforth rule for unequal steps: second order at one evaluation a step, the first step is Euler's."""
    before: Tensor | None = None
    last_step = torch.tensor(1.0)
    for now, then in pairwise(grid):
        step = then - now
        slope = field(x, now)
        lead = slope if before is None else slope + (slope - before) * (step / (2 * last_step))
        x, before, last_step = x + step * lead, slope, step
    return x


def dpm(field: Velocity, x: Tensor, grid: Tensor) -> Tensor:
    """Integrate with DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2): multistep in the predicted data, exact in its linear part.

    On the straight path alpha = t and sigma = 1 - t, so half the log signal-to-noise ratio is lambda = log(t / (1 - t)) and exp(-h) = sigma' alpha / (sigma alpha').
    First order where h has no end (from t = 0, and into t = 1, where x becomes the predicted data): one evaluation a step.
    """
    before: Tensor | None = None
    last = math.inf
    for now, then in pairwise(grid.tolist()):
        data = x + (1 - now) * field(x, torch.tensor(now))
        shrink = now * (1 - then) / ((1 - now) * then)
        step = -math.log(shrink) if shrink > 0 else math.inf
        lead = data
        if before is not None and math.isfinite(step) and math.isfinite(last):
            lead = data + (data - before) * (step / (2 * last))
        x = (1 - then) / (1 - now) * x + then * (1 - shrink) * lead
        before, last = data, step
    return x


def ancestral(field: Velocity, x: Tensor, grid: Tensor, *, fresh: Callable[[], Tensor], bound: float = math.inf) -> Tensor:
    """Predict the data, held within `bound` of 0, and take it to the next time under noise drawn anew by `fresh` (the shape of x); one evaluation a step.

    Song et al. 2021 (DDIM, arXiv:2010.02502), equation 12 with sigma^2 = 1 - alpha; the multistep sampling of consistency models (Song et al. 2023,
    arXiv:2303.01469, algorithm 1). What an early step got wrong is not carried along in the noise. Follows no path: more steps do not lead nearer to one end.
    """
    for now, then in pairwise(grid):
        data = (x + (1 - now) * field(x, now)).clamp(-bound, bound)
        x = then * data + (1 - then) * fresh() if then < 1 else data
    return x


SOLVERS: dict[str, Callable[[Velocity, Tensor, Tensor], Tensor]] = {"euler": euler, "heun": heun, "multistep": multistep, "dpm": dpm}
