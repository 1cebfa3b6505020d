from dataclasses import fields, replace

import pytest
import torch

from tonggan.errors import UserError
from tonggan.latent.record import Latent, References, blend, stack


def test_rows_and_repeats_have_every_tensor_that_has_rows() -> None:
    count = 3
    whole = Latent(
        torch.randn(count, 4, 8),
        torch.rand(count, 4) < 0.5,
        torch.randn(count, 8),
        torch.arange(4.0),
        References(torch.randn(count, 2, 3), torch.ones(count, 2, dtype=torch.bool)),
        torch.randn(count, 5),
        Latent(torch.randn(count, 2, 8), torch.ones(count, 2, dtype=torch.bool), torch.randn(count, 8)),
    )
    assert all(getattr(whole, each.name) is not None for each in fields(whole))
    for made, order in ((whole.rows(torch.tensor([2, 0])), [2, 0]), (whole.repeat(2), [0, 0, 1, 1, 2, 2])):
        for name in ("tokens", "mask", "pooled", "changes"):
            assert torch.equal(getattr(made, name), getattr(whole, name)[order])
        assert torch.equal(made.references.values, whole.references.values[order])
        assert torch.equal(made.references.present, whole.references.present[order])
        assert torch.equal(made.prompt.tokens, whole.prompt.tokens[order])
        assert made.seconds is whole.seconds


def test_a_stack_has_what_augmentation_did_zeros_for_what_was_not_changed() -> None:
    changed = Latent(torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), torch.randn(2, 4), changes=torch.randn(2, 5))
    stacked = stack(changed, replace(changed, changes=None)).changes
    assert stacked is not None
    assert torch.equal(stacked, torch.cat([changed.changes, torch.zeros(2, 5)]))
    assert stack(replace(changed, changes=None)).changes is None


@pytest.mark.parametrize("others", [None, torch.arange(3.0) + 1])
def test_tokens_of_other_instants_are_not_joined(others: torch.Tensor | None) -> None:
    timed = Latent(torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), torch.randn(2, 4), torch.arange(3.0))
    other = replace(timed, seconds=others)
    for first, second in ((timed, other), (other, timed)):
        with pytest.raises(UserError, match="has a time and what has none, or another"):
            stack(first, second)
        with pytest.raises(UserError, match="inputs of one modality"):
            blend(first, second, 0.5)
    same = stack(timed, replace(timed, seconds=torch.arange(3.0))).seconds
    assert same is not None
    assert torch.equal(same, torch.arange(3.0))
