import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tonggan.evaluation.clarity import blockiness, blur_effect, clarity, luminance

GOLDEN = Path(__file__).with_name("golden_blur.json")
"""What scikit-image 0.26 says of `blurred_noise` (scripts/make_golden_clarity.py)."""


def blurred_noise(number: int) -> Image.Image:
    noise = np.random.default_rng(number).integers(0, 256, (40 + 8 * number, 64, 3), dtype=np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(number))


def drawing(size: int = 64) -> Image.Image:
    picture = Image.new("RGB", (size, size), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((11, 9, 50, 54), fill=(200, 30, 40))
    pen.line((5, 60, 60, 4), fill=(10, 10, 10), width=3)
    return picture


def compressed(picture: Image.Image, quality: int) -> Image.Image:
    written = io.BytesIO()
    picture.save(written, format="JPEG", quality=quality, subsampling=0)
    return Image.open(written).convert("RGB")


def test_blur_effect_is_scikit_images() -> None:
    found = [blur_effect(luminance(blurred_noise(number)) / 255) for number in range(4)]
    assert found == pytest.approx(json.loads(GOLDEN.read_text(encoding="utf-8")), rel=1e-6)
    assert found == sorted(found)


def test_compression_is_seen_as_blocks_and_ringing() -> None:
    photo = Image.fromarray(np.asarray(blurred_noise(2)))
    blocks = [blockiness(luminance(compressed(photo, quality))) for quality in (95, 20, 5)]
    assert blocks == sorted(blocks)
    assert blocks[-1] > 1.5 * blocks[0]
    rings = clarity([drawing(), *(compressed(drawing(), quality) for quality in (98, 80, 30))]).ringing
    assert list(rings) == sorted(rings)
    assert rings[0] == 0


def test_a_softer_picture_is_less_sharp_and_a_flat_one_is_a_number() -> None:
    found = clarity([drawing(), drawing().filter(ImageFilter.GaussianBlur(2)), Image.new("RGB", (64, 64), "white")])
    assert found.sharpness[0] > found.sharpness[1] + 0.1
    assert (found.sharpness[2], found.blockiness[2], found.ringing[2]) == (0, 1, 0)
    same = clarity(np.asarray(drawing()).transpose(2, 0, 1)[None])
    assert same.sharpness[0] == found.sharpness[0]
