import torch

from tonggan.training.optimizer import Muon, orthogonalised


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
