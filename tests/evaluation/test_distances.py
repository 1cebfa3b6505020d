import numpy as np
import pytest

from tonggan.evaluation.distances import frechet_distance, kernel_distance


def test_frechet_distance_agrees_with_the_matrix_square_root() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    random = np.random.default_rng(0)
    first = random.normal(size=(400, 6)) @ random.normal(size=(6, 6))
    second = random.normal(size=(300, 6)) @ random.normal(size=(6, 6)) + 0.3
    covariances = np.cov(first.T), np.cov(second.T)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    shift = np.square(first.mean(0) - second.mean(0)).sum()
    expected = shift + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(first, second).interval.value == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_few_samples_is_a_number() -> None:
    few = np.random.default_rng(0).normal(size=(5, 200))
    assert frechet_distance(few, few).interval.value == pytest.approx(0, abs=1e-6)
    assert np.isfinite(frechet_distance(few, few + 1).interval.value)


def test_kernel_distance_agrees_with_the_definition() -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=(30, 4)), random.normal(size=(20, 4)) + 0.5

    def mean(a: np.ndarray, b: np.ndarray, same: bool) -> float:
        values = [(float(p @ q) / 4 + 1) ** 3 for i, p in enumerate(a) for j, q in enumerate(b) if not (same and i == j)]
        return sum(values) / len(values)

    expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    assert kernel_distance(x, y).interval.value == pytest.approx(expected, rel=1e-9)
