import numpy as np
import pytest
from PIL import Image
from taste import colourfulness


def test_colourfulness_is_nothing_for_grey_and_the_formulas_value_for_two_colours() -> None:
    grey = Image.new("RGB", (8, 8), (90, 90, 90))
    halves = Image.fromarray(np.concatenate([np.full((8, 4, 3), (200, 0, 0)), np.full((8, 4, 3), (0, 0, 100))], axis=1).astype(np.uint8))
    # red - green: 200 and 0; (red + green) / 2 - blue: 100 and -100.
    wanted = np.hypot(100, 100) + 0.3 * np.hypot(100, 0)
    assert colourfulness([grey, halves]).tolist() == pytest.approx([0, wanted])


def test_colourfulness_grows_with_saturation() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    faded = noise.mean(-1, keepdims=True) + 0.5 * (noise - noise.mean(-1, keepdims=True))
    pictures = [Image.fromarray(each.astype(np.uint8)) for each in (faded, noise)]
    assert np.diff(colourfulness(pictures))[0] > 0
