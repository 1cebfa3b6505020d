"""The figures on fixed features are those of the libraries that the field takes them from."""

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from tonggan.evaluation.distances import frechet_distance, gaussian_kernel, kernel_distance
from tonggan.evaluation.manifold import manifold
from tonggan.evaluation.sliced import sliced_distance


def features(count: int, *, width: int = 16, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(width, width)) / width**0.5
    return (random.normal(size=(count, width)) @ mixing + shift).astype(np.float32)


@pytest.fixture
def sets() -> tuple[np.ndarray, np.ndarray]:
    return features(200), features(200, shift=0.3, seed=1) * 1.2


def test_frechet_distance_is_torch_fidelitys(sets: tuple[np.ndarray, np.ndarray]) -> None:
    statistics = [fid_features_to_statistics(torch.from_numpy(each)) for each in sets]
    expected = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert frechet_distance(*sets).interval.value == pytest.approx(expected, rel=1e-4)


def test_kernel_distance_is_torch_fidelitys(sets: tuple[np.ndarray, np.ndarray]) -> None:
    told = kid_features_to_metric(*map(torch.from_numpy, sets), kid_subsets=1, kid_subset_size=200, verbose=False)
    assert kernel_distance(*sets).interval.value == pytest.approx(told["kernel_inception_distance_mean"], rel=1e-4)
    told = kid_features_to_metric(*map(torch.from_numpy, sets), kid_subsets=400, kid_subset_size=50, verbose=False)
    ours = kernel_distance(*sets, subset_size=50, subsets=400)
    assert ours.subset_mean == pytest.approx(told["kernel_inception_distance_mean"], rel=0.03)
    assert ours.subset_deviation == pytest.approx(told["kernel_inception_distance_std"], rel=0.15)


@pytest.mark.parametrize("nearest", [3, 5])
def test_precision_recall_density_and_coverage_are_prdcs(sets: tuple[np.ndarray, np.ndarray], nearest: int) -> None:
    expected = compute_prdc(real_features=sets[1], fake_features=sets[0], nearest_k=nearest)
    found = manifold(*sets, nearest=nearest)
    assert found is not None
    assert {name: getattr(found, name).value for name in expected} == pytest.approx(expected, abs=1e-9)
    assert 0 < expected["precision"] < 1


def test_cmmd_is_the_papers(sets: tuple[np.ndarray, np.ndarray]) -> None:
    one, two = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in sets)

    def mean(a: np.ndarray, b: np.ndarray, *, same: bool) -> float:
        values = np.exp(-np.square(a[:, None] - b[None]).sum(-1) / (2 * 10**2))
        return float((values.sum() - np.trace(values)) / (len(a) * (len(a) - 1)) if same else values.mean())

    expected = mean(one, one, same=True) + mean(two, two, same=True) - 2 * mean(one, two, same=False)
    assert kernel_distance(one, two, kernel=gaussian_kernel).interval.value == pytest.approx(expected, rel=1e-3)


def test_sliced_distance_is_minds(sets: tuple[np.ndarray, np.ndarray]) -> None:
    generator = torch.Generator().manual_seed(2020)  # what follows is the formula of torch-fidelity's metric_mind, which is newer than its release
    axes = torch.randn(1000, 16, generator=generator)
    axes = axes / axes.norm(dim=1, keepdim=True)
    one, two = ((torch.from_numpy(each) @ axes.T).sort(dim=0).values for each in sets)
    expected = 3 * 16 * float(((one - two) ** 2).mean())
    found = sliced_distance(*sets)
    assert found.interval.value == pytest.approx(expected, rel=1e-4)
    assert found.interval.low < found.interval.value < found.interval.high


def test_sliced_distance_of_a_shift_is_three_times_its_square() -> None:
    one = features(300, width=8)
    shift = np.linspace(-1, 1, 8)
    assert sliced_distance(one, one + shift, directions=20_000).interval.value == pytest.approx(3 * np.square(shift).sum(), rel=0.02)


def test_standard_error_of_a_sliced_distance_is_what_other_samples_would_change() -> None:
    found = [sliced_distance(features(400, seed=i), features(400, shift=0.5, seed=1000 + i), directions=50) for i in range(60)]
    spread = np.std([each.interval.value for each in found])
    assert np.mean([each.standard_error for each in found]) == pytest.approx(spread, rel=0.3)


def test_standard_error_of_a_frechet_distance_is_what_other_samples_would_change() -> None:
    found = [frechet_distance(features(400, width=8, seed=i), features(400, width=8, shift=0.5, seed=1000 + i)) for i in range(60)]
    spread = np.std([each.interval.value for each in found])
    assert np.mean([each.standard_error for each in found]) == pytest.approx(spread, rel=0.3)


def test_the_interval_of_a_kernel_distance_is_what_other_samples_would_change() -> None:
    pairs = [(features(200, width=8, seed=i), features(200, width=8, shift=0.5, seed=1000 + i)) for i in range(40)]
    found = [kernel_distance(*pair, subsets=2, seed=i).interval for i, pair in enumerate(pairs)]
    spread = np.std([each.value for each in found])
    assert np.mean([(each.high - each.low) / (2 * 1.96) for each in found]) == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_few_samples_give_numbers(count: int) -> None:
    one, two = features(count, width=300), features(count, width=300, seed=1)
    for value in (
        frechet_distance(one, two).interval,
        kernel_distance(one, two).interval,
        kernel_distance(one, two, kernel=gaussian_kernel).interval,
        sliced_distance(one, two).interval,
    ):
        assert np.isfinite([value.value, value.low, value.high]).all()
    found = manifold(one, two)
    assert (found is None) == (count <= 5)
    assert sliced_distance(one, one).interval.value == 0
