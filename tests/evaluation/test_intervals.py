import numpy as np
import pytest

from tonggan.evaluation.intervals import mean_interval, ratio_interval, resample_weights, share_interval


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


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(0, 24, 0.0, 0.1380), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662), (1, 1, 0.2065, 1.0)],  # Newcombe 1998, table I, and Wilson's formula
)
def test_the_interval_of_a_share_is_wilsons(hits: int, count: int, low: float, high: float) -> None:
    found = share_interval([1.0] * hits + [0.0] * (count - hits))
    assert (found.value, found.low, found.high) == pytest.approx((hits / count, low, high), abs=1e-4)
