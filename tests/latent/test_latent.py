import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tonggan.latent.alignment import Alignment, agreement
from tonggan.latent.record import Latent, References, blend, masked_mean, stack
from tonggan.latent.space import SharedSpace, SpaceConfig


def some(tokens: int = 5, rows: int = 3, width: int = 8) -> Latent:
    x = torch.randn(rows, tokens, width)
    return Latent(x, torch.ones(rows, tokens, dtype=torch.bool), x.mean(1))


def test_masked_mean_ignores_padding() -> None:
    x = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert masked_mean(x, torch.tensor([[True, True, False]])).item() == 2


def test_pooled_has_unit_length() -> None:
    placed = SharedSpace(SpaceConfig(width=16), widths={"text": 8})(some(), "text")
    torch.testing.assert_close(placed.latent.pooled.norm(dim=-1), torch.ones(3))
    assert placed.divergence is None


def test_kl_of_a_standard_normal_is_zero_and_grows_with_the_mean() -> None:
    space = SharedSpace(SpaceConfig(width=16, variational=True), widths={"text": 8})
    assert space.spread is not None
    torch.nn.init.zeros_(space.spread.bias)
    _, at_zero = space._sampled(torch.zeros(2, 16), None)
    _, at_two = space._sampled(torch.full((2, 16), 2.0), None)
    torch.testing.assert_close(at_zero, torch.zeros(2))
    torch.testing.assert_close(at_two, torch.full((2,), 2.0))


def test_all_conditions_dropped_makes_rows_equal() -> None:
    space = SharedSpace(SpaceConfig(width=16, condition_dropout=0.999999), widths={"text": 8})
    dropped = space.drop_conditions(space(some(), "text").latent, randomness=torch.Generator())
    assert torch.equal(dropped.pooled[0], dropped.pooled[1])
    assert dropped.mask.sum(1).tolist() == [1, 1, 1]


def test_info_nce_of_equal_points_is_log_of_the_batch() -> None:
    point = torch.nn.functional.normalize(torch.ones(6, 4), dim=-1)
    torch.testing.assert_close(Alignment()(point, point), torch.tensor(math.log(6)))


def test_info_nce_prefers_the_right_pairs() -> None:
    points = torch.eye(5)
    assert Alignment()(points, points) < Alignment()(points, points.roll(1, 0))


def test_a_temperature_at_its_end_can_come_back() -> None:
    points, alignment = torch.eye(5), Alignment()
    torch.nn.init.constant_(alignment.logit_scale, 6.0)
    optimizer = torch.optim.SGD(alignment.parameters(), lr=1e-3)
    alignment(points, points.roll(1, 0)).backward()  # pairs that do not agree ask for a lower scale
    assert alignment.logit_scale.exp().item() == pytest.approx(Alignment.MAX_SCALE, rel=1e-5)
    optimizer.step()
    assert alignment.logit_scale.exp().item() < Alignment.MAX_SCALE - 1


def in_time(events: list[int], *, tokens: int = 10, rate: float = 10.0) -> Latent:
    """One row a number: a token of its own where the event is, another elsewhere."""
    x = torch.zeros(len(events), tokens, 4)
    x[..., 0] = 1
    for row, event in enumerate(events):
        x[row, event] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    return Latent(x, torch.ones(x.shape[:2], dtype=torch.bool), F.normalize(x.mean(1), dim=-1), torch.arange(tokens) / rate)


def test_agreement_is_of_the_same_instants() -> None:
    found = agreement(in_time([2, 5]), in_time([2, 5]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.8], [0.8, 1.0]]))
    torch.testing.assert_close(in_time([2]).pooled, in_time([5]).pooled)  # which the points do not tell
    finer = in_time([4, 10], tokens=20, rate=20.0)
    assert (agreement(in_time([2, 5]), finer).argmax(1) == torch.arange(2)).all()


def test_a_shifted_clip_is_a_negative_where_there_is_one() -> None:
    alignment, seen = Alignment(), in_time([2, 5])
    logits = torch.tensor([1.0, 0.8]) / 0.07
    alone = alignment.in_time(seen, in_time([2, 5]), in_time([7, 8]), torch.tensor([False, False]))
    torch.testing.assert_close(alone, -logits.log_softmax(0)[0])
    hard = alignment.in_time(seen, in_time([2, 5]), in_time([7, 8]), torch.tensor([True, True]))
    wanted = -torch.tensor([1.0, 0.8, 0.8, 0.8]).div(0.07).log_softmax(0)[0]
    torch.testing.assert_close(hard, (wanted + alone) / 2)
    assert alignment.in_time(seen, in_time([7, 8]), in_time([2, 5]), torch.tensor([True, True])) > hard


def test_a_row_that_comes_twice_is_no_negative_of_itself_in_time() -> None:
    alignment, rows, real = Alignment(), torch.tensor([7, 3, 7]), torch.tensor([True, True, True])
    seen, heard = in_time([2, 5, 4]), in_time([2, 5, 4])
    twice = alignment.in_time(seen, heard, in_time([8, 8, 8]), real, rows)
    # Of the first row the second alone, and the first and the second moved, are negatives; whatever the third's copy is moved to.
    torch.testing.assert_close(twice, alignment.in_time(seen, heard, in_time([8, 8, 8]), real, torch.tensor([0, 1, 0])))
    assert twice < alignment.in_time(seen, heard, in_time([8, 8, 8]), real, torch.arange(3))
    near = torch.tensor([1.0, 0.8, 0.8, 0.8]) / 0.07  # itself, the other row, both at another time
    alone = torch.tensor([1.0, 0.8, 0.8, 0.8, 0.8, 0.8]) / 0.07  # of the second row nothing is left out
    back, whole = torch.tensor([1.0, 0.8]) / 0.07, torch.tensor([1.0, 0.8, 0.8]) / 0.07
    there = -(2 * near.log_softmax(0)[0] + alone.log_softmax(0)[0]) / 3
    again = -(2 * back.log_softmax(0)[0] + whole.log_softmax(0)[0]) / 3
    torch.testing.assert_close(twice, (there + again) / 2)


def test_evaluation_leaves_the_temperature_as_it_is() -> None:
    points, alignment = torch.eye(5), Alignment().eval()
    torch.nn.init.constant_(alignment.logit_scale, 6.0)
    far = alignment(points, points)
    assert alignment.logit_scale.item() == 6.0
    torch.testing.assert_close(far, alignment.train()(points, points))
    assert alignment.logit_scale.exp().item() == pytest.approx(Alignment.MAX_SCALE, rel=1e-5)


def test_a_prompt_is_dropped_by_itself_and_goes_with_its_row() -> None:
    space = SharedSpace(SpaceConfig(width=16, condition_dropout=0.0, prompt_dropout=1.0), widths={"text": 8})
    latent, said = (space(some(tokens), "text").latent for tokens in (5, 3))
    both = replace(latent, prompt=said)
    dropped = space.drop_conditions(both, randomness=torch.Generator())
    assert dropped.tokens is latent.tokens
    assert dropped.prompt is not None
    assert dropped.prompt.mask.sum(1).tolist() == [1, 1, 1]
    left_out = space.no_prompt(latent)
    torch.testing.assert_close(dropped.prompt.tokens[:, :1], left_out.tokens)
    torch.testing.assert_close(dropped.prompt.pooled, left_out.pooled)
    nothing = space.null(both)
    assert nothing.prompt is not None
    assert torch.equal(nothing.prompt.pooled, left_out.pooled)
    whole = stack(both, nothing).repeat(2)
    assert whole.prompt is not None
    assert whole.prompt.tokens.shape == (12, 3, 16)
    assert torch.equal(whole.prompt.pooled[2], said.pooled[1])


def test_stack_pads_the_shorter() -> None:
    both = stack(some(3), some(7))
    assert both.tokens.shape == (6, 7, 8)
    assert both.mask.sum(1).tolist() == [3, 3, 3, 7, 7, 7]


def test_a_blend_has_both_ends_and_stays_on_the_sphere() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False]])
    first = Latent(torch.randn(1, 3, 8), mask, F.normalize(torch.randn(1, 8), dim=-1))
    second = Latent(torch.randn(1, 2, 8), torch.ones(1, 2, dtype=torch.bool), F.normalize(torch.randn(1, 8), dim=-1))
    start, middle, end = (blend(first, second, weight) for weight in (0.0, 0.5, 1.0))
    assert torch.equal(start.mask, mask)
    torch.testing.assert_close(start.tokens[:, :2], first.tokens[:, :2])
    torch.testing.assert_close(start.pooled, first.pooled)
    torch.testing.assert_close(end.tokens[:, :2], second.tokens)
    torch.testing.assert_close(end.pooled, second.pooled)
    torch.testing.assert_close(middle.pooled.norm(dim=-1), torch.ones(1))
    torch.testing.assert_close((middle.pooled * first.pooled).sum(), (middle.pooled * second.pooled).sum())


def test_references_stand_before_others_and_leave_empty_places() -> None:
    def some(value: float, count: int) -> References:
        return References(torch.full((2, count, 3), value), torch.ones(2, count, dtype=torch.bool))

    both = some(1, 1).then(some(2, 4), room=4)
    assert both.values[0, :, 0].tolist() == [1, 2, 2, 2]
    assert both.present.all()
    alone = some(1, 1).then(None, room=3)
    assert alone.values[0, :, 0].tolist() == [1, 0, 0]
    assert alone.present[0].tolist() == [True, False, False]


def test_a_row_that_comes_twice_is_no_negative_of_itself() -> None:
    torch.manual_seed(0)
    alignment = Alignment()
    first, second = (torch.nn.functional.normalize(torch.randn(4, 8), dim=1) for _ in range(2))
    twice = [torch.cat([each, each[:1]]) for each in (first, second)]
    rows = torch.tensor([5, 6, 7, 8, 5])
    told, untold = alignment(*twice, rows), alignment(*twice)
    assert told < untold
    torch.testing.assert_close(alignment(first, second, rows[:4]), alignment(first, second))
