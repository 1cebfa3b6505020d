"""Decoders that match flows learn to do in few steps, unguided, what a guided teacher does in many."""

import torch
from torch import Tensor

from tonggan.decoders.flow_sampling import FlowConfig, FlowNetwork, guided
from tonggan.errors import UserError
from tonggan.latent.record import Latent, stack
from tonggan.objectives import flow
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Distilling


def check_steps(how: Distilling, config: FlowConfig) -> None:
    """Raise `UserError` where the teacher's steps cannot be shared out among the student's; `config` is the student's."""
    unit = how.stride or config.num_inference_steps
    if how.steps % unit:
        named = "objectives.distil.stride" if how.stride else "the decoder's num_inference_steps"
        raise UserError(f"objectives.distil.steps={how.steps} is not a multiple of {named}={unit}.")


def distilled(
    network: FlowNetwork,
    teacher: FlowNetwork,
    latent: Latent,
    target: Tensor,
    *,
    against: Latent,
    config: FlowConfig,
    interval: tuple[float, float],
    how: Distilling,
    randomness: torch.Generator,
) -> LossTerms:
    """Return the mean square error of the velocity that leads, in one step, where `how.stride` guided steps of a teacher lead.

    `target` (batch, ...) is data, `latent` what it was made for, `against` what the teacher is led away from, at the times of
    `interval`; `config` is the student's. Progressive distillation (Salimans & Ho 2022, arXiv:2202.00512, algorithm 2) in one stage, from a guided teacher
    (arXiv:2210.03142; a stride of 1 is the first of its two stages); the times are those of this grid alone. To be followed with
    `guidance_scale: 1`, best by `solver: ancestral`, whose steps begin where these do. Steps have to divide, as `check_steps` sees to.
    """
    stride = how.stride or how.steps // config.num_inference_steps
    steps = how.steps // stride
    grid = flow.time_grid(steps, shift=config.time_shift).to(target.device)
    places = torch.randint(steps, (len(target),), generator=randomness).to(target.device)
    now, then = grid[places], grid[places + 1]
    noise = torch.randn(target.shape, generator=randomness).to(target.device)
    x_now = flow.interpolate(noise, target, now)
    first, last = interval
    with torch.no_grad():
        both = teacher.prepare(stack(latent, against))

        def field(x: Tensor, share: Tensor) -> Tensor:
            times = now + share * (then - now)
            scales = torch.where((first <= times) & (times <= last), how.guidance_scale, 1.0)
            return span * guided(teacher, x, times, both, (flow.expand_as(scales, x),))

        # Time runs from 0 to 1 within every sample's own interval, so that one solver serves all.
        span = flow.expand_as(then - now, x_now)
        x_then = flow.multistep(field, x_now, flow.time_grid(stride))
    predicted = network(x_now, now, network.prepare(latent)).float()
    error = flow.velocity_from_data(predicted, x_now, now) - (x_then - x_now) / span
    return LossTerms({"flow": (error**2).mean()})
