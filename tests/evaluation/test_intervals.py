import numpy as np
import pytest

from tonggan.evaluation.intervals import mean_interval, ratio_interval, resample_weights


def test_the_interval_of_a_mean_is_the_known_one() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_constant_values_have_no_width() -> None:
    found = mean_interval([1.0, 1.0, 1.0])
    assert (found.low, found.value, found.high) == (1.0, 1.0, 1.0)


def test_every_resample_draws_as_many_as_there_are() -> None:
    assert (resample_weights(7, resamples=20, seed=0).sum(axis=0) == 7).all()


def test_a_ratio_of_proportional_numbers_is_exact() -> None:
    found = ratio_interval([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert (found.low, found.value, found.high) == pytest.approx((0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="above zero"):
        ratio_interval([1.0], [0.0])
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])
