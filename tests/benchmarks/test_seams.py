from types import SimpleNamespace

import numpy as np
import pytest
from seams import Measured, change, f1, lasts

from tonggan.modalities.spectrogram import Mel


def test_a_step_is_a_change_and_a_hiss_that_lasts_is_none() -> None:
    hiss = np.random.default_rng(0).normal(0, 0.05, 16_000).astype(np.float32)
    louder = hiss * np.where(np.arange(16_000) < 8000, 1, 4).astype(np.float32)
    assert change(louder, 0.5, Mel()) == pytest.approx(np.log(4), rel=0.2)
    assert change(hiss, 0.5, Mel()) < 0.35
    scene = SimpleNamespace(events=[SimpleNamespace(second=0.3)])
    assert [lasts(scene, hiss, second, 16_000) for second in (0.4, 0.6, 0.99)] == [False, True, False]
    assert not lasts(scene, hiss * (np.arange(16_000) < 9600), 0.6, 16_000)


def test_onsets_near_a_seam_are_counted_apart() -> None:
    found = [Measured(true=[0.5, 2.0, 3.5], heard=[0.5, 3.0], seams=[2.1], changes=[])]
    assert f1(found, near=False) == pytest.approx(2 * 1 / 5)
    assert f1(found, near=True) == 0
