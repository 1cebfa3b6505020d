import math

import pytest
import torch

from tonggan.objectives import flow


def test_path_has_noise_at_zero_and_data_at_one() -> None:
    noise, data = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    assert torch.equal(flow.interpolate(noise, data, torch.zeros(3)), noise)
    assert torch.equal(flow.interpolate(noise, data, torch.ones(3)), data)


def test_velocity_is_the_derivative_of_the_path() -> None:
    noise, data = torch.randn(2, 5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    t, step = torch.tensor([0.3, 0.8], dtype=torch.float64), 1e-6
    slope = (flow.interpolate(noise, data, t + step) - flow.interpolate(noise, data, t - step)) / (2 * step)
    torch.testing.assert_close(slope, data - noise, rtol=1e-6, atol=1e-8)


def test_velocity_from_data_agrees_with_the_target() -> None:
    noise, data, t = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0.0, 0.2, 0.5, 0.9])
    torch.testing.assert_close(flow.velocity_from_data(data, flow.interpolate(noise, data, t), t), data - noise, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 12, 50, 200])
@pytest.mark.parametrize("solver", [*flow.SOLVERS, "ancestral"])
def test_who_predicts_the_data_arrives_at_it_in_any_number_of_steps(solver: str, steps: int) -> None:
    noise, data = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))

    def field(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return flow.velocity_from_data(data, x, t.expand(len(x)))

    grid = flow.time_grid(steps)
    made = flow.ancestral(field, noise, grid, fresh=lambda: torch.randn(3, 5)) if solver == "ancestral" else flow.SOLVERS[solver](field, noise, grid)
    torch.testing.assert_close(made, data, atol=1e-4, rtol=1e-4)


def test_an_error_of_the_velocity_counts_no_more_near_the_end_than_at_the_least_remaining_time() -> None:
    data, times = torch.zeros(4, 2), torch.tensor([0.0, 0.5, 0.95, 0.999])
    assert flow.velocity_error(torch.ones(4, 2), data, times)[:, 0].tolist() == pytest.approx([1, 2, 20, 20], rel=1e-4)


def test_times_follow_the_logit_normal() -> None:
    t = flow.sample_times(20_000, randomness=torch.Generator().manual_seed(0), mean=-0.4, spread=1.0)
    logits = torch.logit(t.double())
    assert abs(float(logits.mean()) + 0.4) < 0.01
    assert abs(float(logits.std()) - 1) < 0.01


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("multistep", 2)])
def test_solver_converges_at_its_order(solver: str, order: int) -> None:
    # dx/dt = x from 1 gives e.
    def error(steps: int) -> float:
        grid = flow.time_grid(steps).double()
        end = flow.SOLVERS[solver](lambda x, t: x, torch.ones(1, dtype=torch.float64), grid)
        return abs(float(end) - math.e)

    assert error(64) < error(32) / (2**order * 0.75)


@pytest.mark.parametrize(("solver", "least"), [("euler", 1.8), ("multistep", 3.5), ("dpm", 2.8)])
def test_solvers_lead_a_gaussian_to_its_place(solver: str, least: float) -> None:
    mean, deviation = 0.7, 0.4
    noise = torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def field(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        t = t.double()
        data = (t * deviation**2 * x + (1 - t) ** 2 * mean) / (t**2 * deviation**2 + (1 - t) ** 2)
        return (data - x) / (1 - t)

    errors = [float((flow.SOLVERS[solver](field, noise, flow.time_grid(n).double()) - (mean + deviation * noise)).abs().mean()) for n in (64, 128)]
    assert errors[1] < 0.005
    assert errors[0] / errors[1] > least


def test_the_ancestral_solver_leads_a_gaussian_to_its_place() -> None:
    mean, deviation, generator = 0.7, 0.4, torch.Generator().manual_seed(0)

    def fresh() -> torch.Tensor:
        return torch.randn(20_000, generator=generator, dtype=torch.float64)

    def field(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        # A draw of the data that x may come from, which is what the chain's steps assume; its mean alone loses spread.
        t = t.double()
        variance = 1 / (1 / deviation**2 + (t / (1 - t)) ** 2)
        data = variance * (mean / deviation**2 + t * x / (1 - t) ** 2) + variance**0.5 * fresh()
        return (data - x) / (1 - t)

    made = flow.ancestral(field, fresh(), flow.time_grid(8).double(), fresh=fresh)
    assert float(made.mean()) == pytest.approx(mean, abs=0.01)
    assert float(made.std()) == pytest.approx(deviation, abs=0.01)


def test_the_ancestral_solver_ends_in_the_last_prediction_held_within_bounds() -> None:
    data = torch.tensor([-3.0, 0.5, 3.0])
    for bound, held in ((torch.inf, data), (1.0, data.clamp(-1, 1))):
        made = flow.ancestral(lambda x, t: (data - x) / (1 - t), torch.zeros(3), flow.time_grid(4), fresh=lambda: torch.randn(3), bound=bound)
        torch.testing.assert_close(made, held)


def test_a_shifted_grid_is_denser_near_noise() -> None:
    grid = flow.time_grid(8, shift=3.0)
    steps = grid.diff()
    assert (grid[0], grid[-1]) == (0, 1)
    assert (steps.diff() > 0).all()
    torch.testing.assert_close(1 - grid[4], torch.tensor(3 * 0.5 / (1 + 2 * 0.5)))
    torch.testing.assert_close(flow.time_grid(8, shift=1.0), torch.linspace(0, 1, 9))


def test_solvers_are_exact_on_a_straight_line() -> None:
    for solver in flow.SOLVERS.values():
        end = solver(lambda x, t: torch.full_like(x, 3.0), torch.zeros(2), flow.time_grid(5))
        torch.testing.assert_close(end, torch.full((2,), 3.0))
