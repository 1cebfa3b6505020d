import pytest
import torch

from tonggan.errors import UserError
from tonggan.training.optimizer import Muon, build_optimizers, orthogonalised, set_learning_rate
from tonggan.training.recipe import OptimizerConfig


def test_singular_values_come_near_one_and_vectors_stay() -> None:
    matrix = torch.randn(24, 10, generator=torch.Generator().manual_seed(0))
    made = orthogonalised(matrix, (3.4445, -4.775, 2.0315), steps=5)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    within = left.T @ made @ right.T
    assert 0.6 < float(within.diagonal().min()) <= float(within.diagonal().max()) < 1.3
    assert float((within - within.diagonal().diag()).abs().max()) < 1e-4


def test_it_moves_as_torchs_does_but_for_its_rounding() -> None:
    start, gradients = torch.randn(16, 32), [torch.randn(16, 32) for _ in range(3)]
    ends, buffers = [], []
    for kind in (torch.optim.Muon, Muon):
        matrix = torch.nn.Parameter(start.clone())
        optimizer = kind([matrix], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for gradient in gradients:
            matrix.grad = gradient.clone()
            optimizer.step()
        ends.append(matrix.detach() - start)
        buffers.append(optimizer.state_dict()["state"][0]["momentum_buffer"])
    assert float((ends[0] - ends[1]).norm() / ends[0].norm()) < 0.05
    assert torch.equal(*buffers)


def test_adam_refuses_a_decay_that_it_has_not() -> None:
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"weight_decay is 0\.1, and adam has none\. Set optimizer\.kind to adamw"):
        build_optimizers(layer, OptimizerConfig(kind="adam", weight_decay=0.1))
    for decay in (0.0, 0.01):
        assert build_optimizers(layer, OptimizerConfig(kind="adam", weight_decay=decay))[0].param_groups[0]["weight_decay"] == 0


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
def test_every_rate_is_scaled_from_its_peak(kind: str) -> None:
    blocks = torch.nn.ModuleList([torch.nn.Linear(4, 4)])
    optimizers = build_optimizers(blocks, OptimizerConfig(kind=kind, learning_rate=1e-3, muon_learning_rate=1e-2))  # type: ignore[arg-type]
    peaks = [1e-3] if kind == "adam" else [1e-3, 1e-3] if kind == "adamw" else [1e-3, 1e-3, 1e-2]
    for factor in (0.5, 0.0, 1.0):
        set_learning_rate(optimizers, factor)
        assert [group["lr"] for each in optimizers for group in each.param_groups] == [factor * peak for peak in peaks]
