import math

import pytest
import torch

from tonggan.objectives.adversarial import RULES, feature_matching, squared_slopes


@pytest.mark.parametrize("name", RULES)
def test_each_player_descends_towards_its_end(name: str) -> None:
    rule = RULES[name]
    real, made = torch.tensor([0.3, -0.2], requires_grad=True), torch.tensor([0.1, 0.4], requires_grad=True)
    rule.discriminator(real, made).sum().backward()
    assert real.grad is not None
    assert made.grad is not None
    assert (real.grad < 0).all()  # descending raises verdicts on real outputs
    assert (made.grad > 0).all()
    made.grad = None
    rule.generator(made, real.detach()).sum().backward()
    assert (made.grad < 0).all()


def test_the_losses_are_those_of_the_papers() -> None:
    real, made = torch.tensor([2.0]), torch.tensor([0.5])

    def softplus(x: float) -> float:
        return math.log1p(math.exp(x))

    expected = {
        "relativistic": (softplus(-1.5), softplus(1.5)),
        "non_saturating": (softplus(-2) + softplus(0.5), softplus(-0.5)),
        "hinge": (1.5, -0.5),
    }
    for name, (discriminator, generator) in expected.items():
        assert float(RULES[name].discriminator(real, made)) == pytest.approx(discriminator)
        assert float(RULES[name].generator(made, real)) == pytest.approx(generator)


def test_only_differences_count_where_outputs_are_paired() -> None:
    real, made = torch.randn(8), torch.randn(8)
    rule = RULES["relativistic"]
    torch.testing.assert_close(rule.discriminator(real + 5, made + 5), rule.discriminator(real, made))
    assert not RULES["hinge"].discriminator(real + 5, made + 5).allclose(RULES["hinge"].discriminator(real, made))


def test_slopes_of_a_quadratic_verdict() -> None:
    pictures = torch.randn(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    found = squared_slopes(weight * pictures.square().sum((1, 2, 3)), pictures)
    expected = 4 * weight.detach() ** 2 * pictures.detach().square().sum((1, 2, 3))
    torch.testing.assert_close(found.detach(), expected)
    found.mean().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, (8 * weight * pictures.square().sum((1, 2, 3))).mean().detach())


def test_layers_are_compared_in_their_own_units() -> None:
    made, real = [torch.tensor([[1.0, 3.0]]), torch.tensor([[100.0]])], [torch.tensor([[2.0, 2.0]]), torch.tensor([[200.0]])]
    assert feature_matching(made, real).item() == pytest.approx(0.5)
    assert feature_matching([1000 * each for each in made], [1000 * each for each in real]).item() == pytest.approx(0.5)
