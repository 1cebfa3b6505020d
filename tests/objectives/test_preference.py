import math

import pytest
import torch

from tonggan.objectives.preference import implicit_reward, preference


def test_the_objective_is_equation_14() -> None:
    torch.manual_seed(0)
    errors = torch.randn(4, 3, 2, 2)  # policy and reference, chosen and rejected
    policy_w, reference_w, policy_l, reference_l = errors
    found = preference(implicit_reward(policy_w, reference_w, beta=7.0), implicit_reward(policy_l, reference_l, beta=7.0))

    def square(error: torch.Tensor) -> float:
        return sum(float(value) ** 2 for value in error.flatten()) / error.numel()

    expected = []
    for w, rw, bad, rbad in zip(policy_w, reference_w, policy_l, reference_l, strict=True):
        inside = -7.0 * ((square(w) - square(rw)) - (square(bad) - square(rbad)))
        expected.append(-math.log(1 / (1 + math.exp(-inside))))
    assert float(found.loss) == pytest.approx(sum(expected) / 3, rel=1e-5)


def test_who_does_as_the_reference_does_has_a_loss_of_log_two() -> None:
    error = torch.randn(5, 8)
    same = implicit_reward(error, error, beta=100.0)
    found = preference(same, same)
    assert float(found.loss) == pytest.approx(math.log(2))
    assert float(found.margin) == 0
    assert float(found.agreed) == 0


def test_less_error_on_what_was_chosen_is_rewarded() -> None:
    before = torch.ones(2, 4)
    chosen, rejected = implicit_reward(0.9 * before, before, beta=10.0), implicit_reward(1.1 * before, before, beta=10.0)
    better, worse = preference(chosen, rejected), preference(rejected, chosen)
    assert float(better.loss) < math.log(2) < float(worse.loss)
    assert float(better.margin) == pytest.approx(10 * (1.21 - 0.81))
    assert (float(better.agreed), float(worse.agreed)) == (1.0, 0.0)
