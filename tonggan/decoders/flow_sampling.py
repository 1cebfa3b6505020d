"""What decoders that match flows have in common: their settings, the loss, and the guided velocity that a solver follows.

Their networks predict the data (x-prediction, JiT, arXiv:2511.13720); losses and solvers see velocities.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator
from torch import Tensor, nn

from tonggan.latent.record import Latent, stack
from tonggan.objectives import flow
from tonggan.parts import PartConfig
from tonggan.strict import Count, Finite, NotNegative, Positive


def _rising(interval: tuple[float, float]) -> tuple[float, float]:
    first, last = interval
    if not 0 <= first <= last <= 1:
        raise ValueError(f"{first:g} to {last:g} is no interval of times: name two that do not fall, of [0, 1]")
    return interval


class FlowConfig(PartConfig):
    """Settings of a decoder that matches flows."""

    time_mean: Finite = -0.4
    time_spread: NotNegative = 1.0
    num_inference_steps: Count = 12
    guidance_scale: Finite = 2.5
    guidance_interval: Annotated[tuple[float, float], AfterValidator(_rising)] = (0.0, 1.0)
    """Guidance acts at these times t alone (arXiv:2404.07724); elsewhere the network runs once, not twice, a step."""
    solver: Literal["euler", "heun", "multistep", "dpm", "ancestral"] = "multistep"
    """`ancestral` draws new noise at every step; the others follow one path."""
    time_shift: Positive = 1.0
    """Above 1, the solver's steps are closer together near noise."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of generating. bfloat16 is 1.6 times faster where the processor has it; a seed then makes the same but for small differences."""


ANCESTRAL = "ancestral"
SETTINGS = ("num_inference_steps", "guidance_scale", "guidance_interval", "solver", "time_shift", "dtype")
"""Settings of a `FlowConfig` that may be chosen anew in generating."""


class FlowNetwork(nn.Module):
    """(x_t, t, condition) -> predicted data; the condition is computed once from a latent and read at every step."""

    def prepare(self, latent: Latent) -> Any:
        """Compute what does not change from step to step."""
        raise NotImplementedError

    def forward(self, x: Tensor, times: Tensor, condition: Any) -> Tensor:
        """x (batch, ...), times (batch,) -> predicted data of the same shape."""
        raise NotImplementedError


def velocity_loss(network: FlowNetwork, target: Tensor, condition: Any, *, config: FlowConfig, randomness: torch.Generator) -> Tensor:
    """Return the mean square error of the velocity at logit-normal times (flow matching, arXiv:2210.02747, equation 23)."""
    times = flow.sample_times(len(target), randomness=randomness, mean=config.time_mean, spread=config.time_spread).to(target.device)
    noise = torch.randn(target.shape, generator=randomness).to(target.device)
    return (velocity_error(network, flow.interpolate(noise, target, times), target, times, condition) ** 2).mean()


def velocity_error(network: FlowNetwork, x_t: Tensor, target: Tensor, times: Tensor, condition: Any) -> Tensor:
    """Return how far the predicted velocity at x_t (batch, ...) is from the one that leads to `target`, of the same shape."""
    return flow.velocity_error(network(x_t, times, condition).float(), target, times)


def guided(network: FlowNetwork, x: Tensor, times: Tensor, conditions: Any, scales: Sequence[float | Tensor]) -> Tensor:
    """Return the velocity at x (batch, ...), times (batch,), led from the last of several conditions, one behind the other, to each other by its scale.

    A scale is one for all rows, or (batch, 1, ...).
    """
    copies, when = torch.cat([x] * (len(scales) + 1)), torch.cat([times] * (len(scales) + 1))
    *wanted, without = flow.velocity_from_data(network(copies, when, conditions).float(), copies, when).chunk(len(scales) + 1)
    return without + sum(scale * (each - without) for scale, each in zip(scales, wanted, strict=True))


def led_field(network: FlowNetwork, latent: Latent, against: Latent, settings: Mapping[str, Any]) -> flow.Velocity:
    """Return the velocity field of a latent, led away from `against` by `guidance_scale` (arXiv:2207.12598, equation 6; 1 means unguided).

    With a `prompt_guidance_scale` a latent's prompt has a scale of its own: without it, the latent is led away from `against`, and with it, by that scale,
    from itself without (InstructPix2Pix, arXiv:2211.09800, equation 3).
    """
    scale, (first, last) = float(settings["guidance_scale"]), settings["guidance_interval"]
    arithmetic = torch.autocast(latent.tokens.device.type, dtype=torch.bfloat16, enabled=settings["dtype"] == "bfloat16")
    of_prompt = settings.get("prompt_guidance_scale") if latent.prompt is not None else None
    scales = (scale,) if of_prompt is None else (float(of_prompt), scale - float(of_prompt))
    conditions = (latent, against) if of_prompt is None else (latent, replace(latent, prompt=against.prompt), against)
    with arithmetic:
        alone = network.prepare(latent)
        several = network.prepare(stack(*conditions)) if scales != (1.0,) else alone

    def field(x: Tensor, t: Tensor) -> Tensor:
        times = t.expand(len(x)).to(x.device)
        with arithmetic:
            if several is not alone and first <= float(t) <= last:
                return guided(network, x, times, several, scales)
            return flow.velocity_from_data(network(x, times, alone).float(), x, times)

    return field


class SeededNoise:
    """Normal noise (len(seeds), *shape) on the CPU, each row from its own seed alone; every call goes on where the last one ended."""

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self) -> Tensor:
        """Draw."""
        return torch.stack([torch.randn(self.shape, generator=generator) for generator in self.generators])


def seeded_noise(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Return the first noise of `SeededNoise`."""
    return SeededNoise(seeds, shape)()


def integrate(field: flow.Velocity, x: Tensor, grid: Tensor, *, solver: str, noise: Callable[[], Tensor], bound: float = math.inf) -> Tensor:
    """Lead x (batch, ...) over `grid` by the solver of that name; `noise` draws what x was drawn from, anew, `bound` the largest value that data has."""
    if solver == ANCESTRAL:
        return flow.ancestral(field, x, grid, fresh=lambda: noise().to(x.device), bound=bound)
    return flow.SOLVERS[solver](field, x, grid)
