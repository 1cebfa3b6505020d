"""Decoders that match flows learn from preferences: errors of velocities beside those of a reference that does not move."""

import torch
from torch import Tensor

from tonggan.decoders.flow_sampling import FlowConfig, FlowNetwork, velocity_error
from tonggan.latent.record import Latent, stack
from tonggan.objectives import flow
from tonggan.objectives.preference import implicit_reward, preference
from tonggan.objectives.terms import LossTerms
from tonggan.parts import Preferring


def preferred(
    network: FlowNetwork,
    reference: FlowNetwork,
    latent: Latent,
    chosen: Tensor,
    rejected: Tensor,
    *,
    config: FlowConfig,
    how: Preferring,
    randomness: torch.Generator,
) -> LossTerms:
    """Return Diffusion-DPO's loss for velocities (`objectives.preference`), and what is watched beside it.

    `chosen` and `rejected` (batch, ...) were made for the same prompts, placed in `latent`; both get the same noise and time, so that their difference
    tells of them alone. Watched: `margin` and `agreed` of the implicit reward; `chosen` and `rejected`, by which share each
    error has grown over the reference's.
    """
    times = drawn_times(len(chosen), config=config, how=how, randomness=randomness).to(chosen.device).repeat(2)
    noise = torch.randn(chosen.shape, generator=randomness).to(chosen.device).repeat(2, *[1] * (chosen.ndim - 1))
    both, place = torch.cat([chosen, rejected]), stack(latent, latent)
    x_t = flow.interpolate(noise, both, times)
    error = velocity_error(network, x_t, both, times, network.prepare(place))
    with torch.no_grad():
        before = velocity_error(reference, x_t, both, times, reference.prepare(place))
    found = preference(*implicit_reward(error, before, beta=how.beta).chunk(2))
    grown = [((one**2).mean() / (other**2).mean() - 1).detach() for one, other in zip(error.chunk(2), before.chunk(2), strict=True)]
    terms = {"prefer": found.loss, "margin": found.margin, "agreed": found.agreed, "chosen": grown[0], "rejected": grown[1]}
    return LossTerms(terms, dict.fromkeys(("margin", "agreed", "chosen", "rejected"), 0.0))


def strayed(
    network: FlowNetwork,
    reference: FlowNetwork,
    latent: Latent,
    target: Tensor,
    *,
    config: FlowConfig,
    how: Preferring,
    randomness: torch.Generator,
) -> Tensor:
    """Return the mean square distance of the velocities of both networks on the way to `target` (batch, ...).

    Not the loss of the flow itself: a network that was taught to draw in few steps, guidance within, would unlearn it by that.
    """
    times = drawn_times(len(target), config=config, how=how, randomness=randomness).to(target.device)
    noise = torch.randn(target.shape, generator=randomness).to(target.device)
    x_t = flow.interpolate(noise, target, times)
    with torch.no_grad():
        there = reference(x_t, times, reference.prepare(latent)).float()
    return (velocity_error(network, x_t, there, times, network.prepare(latent)) ** 2).mean()


def drawn_times(count: int, *, config: FlowConfig, how: Preferring, randomness: torch.Generator) -> Tensor:
    """Return times (count,) from the density of training, or from the grid of drawing (`how.times`)."""
    if how.times == "training":
        return flow.sample_times(count, randomness=randomness, mean=config.time_mean, spread=config.time_spread)
    grid = flow.time_grid(config.num_inference_steps, shift=config.time_shift)
    return grid[torch.randint(config.num_inference_steps, (count,), generator=randomness)]
