import numpy as np
import pytest
import soxr

from tonggan.data.synthesis.scene import compose, sound
from tonggan.evaluation.synchrony import Agreement, agree, synchrony_figures
from tonggan.modalities.onsets import onsets


def test_onsets_are_matched_one_to_one() -> None:
    assert agree([0.5, 1.0], [0.48, 0.52, 1.2], tolerance_seconds=0.05) == Agreement(2, 3, (pytest.approx(-0.02),))
    assert agree([0.5, 0.53], [0.54, 0.56], tolerance_seconds=0.05).late == (pytest.approx(0.04), pytest.approx(0.03))
    assert agree([], [0.1], tolerance_seconds=0.05) == Agreement(0, 1, ())


def test_figures() -> None:
    figures = {each.name: each for each in synchrony_figures([Agreement(2, 3, (0.02,)), Agreement(2, 1, (0.04,))])}
    assert figures["onset_f1"].value == pytest.approx(2 * 2 / 8)
    assert figures["onset_f1"].details == {"precision": 0.5, "recall": 0.5}
    assert figures["onset_lateness"].value == pytest.approx(0.03)
    assert (figures["onset_lateness"].low, figures["onset_lateness"].high) == (pytest.approx(0.02), pytest.approx(0.04))
    (_, alone, _) = synchrony_figures([Agreement(3, 3, (0.02, 0.03)), Agreement(2, 1, ())])
    assert (alone.value, alone.low, alone.samples) == (pytest.approx(0.025), None, 2)  # both of one clip: no interval
    assert figures["onset_count_error"].value == pytest.approx(2 / 4)
    assert [each.name for each in synchrony_figures([Agreement(0, 0, ())])] == ["onset_f1"]


def test_onsets_of_real_sounds_are_found_when_they_are() -> None:
    agreements = []
    for number in range(40):
        scene = compose(np.random.default_rng([9, number]), seconds=4.0)
        heard = sound(scene, np.random.default_rng(number), sample_rate_hz=16_000)
        agreements.append(agree([event.second for event in scene.events], list(onsets(heard, 16_000)), tolerance_seconds=0.05))
    figures = {each.name: each for each in synchrony_figures(agreements)}
    assert figures["onset_f1"].value > 0.99
    assert figures["onset_count_error"].value < 0.02
    assert abs(figures["onset_lateness"].value) < 0.002


@pytest.mark.parametrize("number", [4, 16])
def test_onsets_do_not_hang_on_the_sample_rate(number: int) -> None:
    scene = compose(np.random.default_rng([9, number]), seconds=4.0)
    heard = sound(scene, np.random.default_rng(number), sample_rate_hz=48_000)
    wanted = onsets(soxr.resample(heard, 48_000, 16_000), 16_000)
    assert len(wanted) == len(scene.events)
    for rate in (8_000, 22_050, 44_100, 48_000):
        assert onsets(soxr.resample(heard, 48_000, rate), rate) == pytest.approx(wanted, abs=0.01), rate
    assert len(onsets(heard[:1], 48_000)) == 0


def test_what_a_louder_blow_masks_is_no_onset_of_its_own() -> None:
    def blows(*levels: tuple[float, float]) -> np.ndarray:
        seconds = np.arange(32_000) / 16_000
        heard = sum(level * np.exp(-60 * np.clip(seconds - at, 0, None)) * np.sin(9000 * seconds) * (seconds >= at) for at, level in levels)
        return onsets(np.asarray(heard, dtype=np.float32), 16_000)

    assert blows((0.5, 0.8), (0.7, 0.5)) == pytest.approx([0.5, 0.7], abs=0.005)
    assert blows((0.5, 0.8), (0.7, 0.06)) == pytest.approx([0.5], abs=0.005)
    assert blows((0.5, 0.8), (1.5, 0.06)) == pytest.approx([0.5, 1.5], abs=0.005)
    assert blows((0.5, 0.06), (0.7, 0.8)) == pytest.approx([0.5, 0.7], abs=0.005)


def test_silence_and_noise_have_no_onsets() -> None:
    assert len(onsets(np.zeros(16_000), 16_000)) == 0
    noise = np.random.default_rng(0).standard_normal(32_000) * 0.1
    assert len([second for second in onsets(noise, 16_000) if 0.1 < second < 1.9]) == 0
