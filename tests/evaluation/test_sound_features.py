import numpy as np
import torch

from tonggan.evaluation.sound_features import log_mel_statistics, sound_distances


def noises(count: int, *, loudness: float, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, loudness, (count, 16_000)).astype(np.float32).clip(-1, 1))


def test_louder_noise_is_farther_and_silence_farthest() -> None:
    real = noises(12, loudness=0.1, seed=0)
    others = {
        name: dict_of(made, real)
        for name, made in {
            "alike": noises(12, loudness=0.1, seed=1),
            "louder": noises(12, loudness=0.3, seed=2),
            "silence": torch.zeros(12, 16_000),
        }.items()
    }
    for name in ("frechet_distance", "kernel_distance"):
        values = [others[which][name] for which in ("alike", "louder", "silence")]
        assert values == sorted(values)
        assert np.isfinite(values).all()
    assert sound_distances(real[:1], real, sample_rate_hz=16_000) == []


def dict_of(made: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
    return {figure.name: figure.value for figure in sound_distances(made, real, sample_rate_hz=16_000)}


def test_a_sounds_statistics_are_its_own() -> None:
    real = noises(3, loudness=0.1, seed=0)
    np.testing.assert_allclose(log_mel_statistics(real, sample_rate_hz=16_000)[1], log_mel_statistics(real[1:2], sample_rate_hz=16_000)[0], atol=1e-5)
    assert np.abs(log_mel_statistics(torch.zeros(1, 16_000), sample_rate_hz=16_000)).max() < 1e-5
