import numpy as np
import pytest

from tonggan.evaluation.card import Figure
from tonggan.evaluation.paired import difference


def rows(values: np.ndarray, key: str = "recall_at_1") -> list[dict]:
    return [{"figures": {key: value}} for value in values.tolist()]


def test_the_same_rows_find_a_difference_that_intervals_miss() -> None:
    luck = np.random.default_rng(0).random(400)
    one, two = luck, luck + np.random.default_rng(1).normal(0.02, 0.05, 400)
    figures = [Figure("recall_at_1", values.mean(), values.mean() - 0.03, values.mean() + 0.03, 400) for values in (one, two)]
    found = difference(*figures, rows=(rows(one), rows(two)), same_rows=True)
    assert found is not None
    assert found.paired
    assert found.real
    assert found.interval.value == pytest.approx(float((two - one).mean()))
    error = (two - one).std() / 20
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    apart = difference(*figures, rows=(rows(one), rows(two)), same_rows=False)
    assert apart is not None
    assert not apart.paired
    assert not apart.real


def test_a_ratio_of_sums_is_paired_by_its_parts() -> None:
    one = np.asarray([[2.0, 4.0], [0.0, 2.0], [2.0, 2.0]])
    two = np.asarray([[4.0, 4.0], [2.0, 2.0], [2.0, 2.0]])
    figures = Figure("onset_f1", 0.5, 0.0, 1.0, 3), Figure("onset_f1", 1.0, 1.0, 1.0, 3)
    found = difference(*figures, rows=(rows(one, "onset_f1"), rows(two, "onset_f1")), same_rows=True)
    assert found is not None
    assert found.interval.value == pytest.approx(0.5)


def test_without_rows_or_intervals_nothing_is_claimed() -> None:
    assert difference(Figure("exact", 0.1, None, None, 9), Figure("exact", 0.9, None, None, 9), rows=(None, None), same_rows=True) is None
    half = [{"figures": {}}, {"figures": {"exact": 1.0}}]
    found = difference(Figure("exact", 0.1, 0.0, 0.3, 2), Figure("exact", 0.9, 0.7, 1.0, 2), rows=(half, half), same_rows=True)
    assert found is not None
    assert (found.paired, found.real) == (False, True)
