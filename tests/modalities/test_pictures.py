"""Pixels of pictures that are not square RGB: what is packed is what a person sees."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tonggan.modalities.image import inspect_picture, open_picture, square
from tonggan.modalities.provenance import inspect_picture_file, read_provenance

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def halves(mode: str = "RGB", size: tuple[int, int] = (8, 4)) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, *size))
    return picture.convert(mode)


def stored(picture: Image.Image, format: str = "PNG", **how: Any) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, format=format, **how)
    return open_picture(file.getvalue(), name="x")


def test_a_turned_photograph_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture has to be turned by a quarter, clockwise
    upright = stored(halves(), exif=exif)
    assert upright.size == (4, 8)
    assert upright.getpixel((0, 0)) == RED
    assert upright.getpixel((0, 7)) == BLUE


def test_transparency_is_laid_on_white() -> None:
    clear = halves("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    clear.putpixel((1, 0), (0, 0, 0, 128))
    assert [stored(clear).getpixel((x, 0)) for x in range(4)] == [WHITE, (127, 127, 127), RED, RED]
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putdata([0, 1])
    assert [stored(palette, transparency=1).getpixel((x, 0)) for x in (0, 1)] == [RED, WHITE]


def test_sixteen_bits_are_scaled_not_cut() -> None:
    greys = Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16))
    assert [stored(greys).getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (127, 127, 127), WHITE]


def test_a_dark_picture_of_sixteen_bits_stays_dark() -> None:
    dark = np.array([[0, 100, 255]], dtype=np.uint16)
    for format in ("PNG", "TIFF"):
        assert not any(stored(Image.fromarray(dark), format).tobytes())
    assert not any(open_picture(b"P5 3 1 65535\n" + dark.astype(">u2").tobytes()).tobytes())


@pytest.mark.parametrize(("half", "white"), [(0.5, 1.0), (127.5, 255.0), (32767.5, 65535.0)])
def test_the_greys_of_floats_are_seen(half: float, white: float) -> None:
    greys = stored(Image.fromarray(np.array([[0, half, white]], dtype=np.float32)), "TIFF")
    assert [greys.getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (127, 127, 127), WHITE]
    float_map = open_picture(b"Pf 3 1 -1.0\n" + np.array([0, half, white], dtype="<f4").tobytes())
    assert float_map.tobytes() == greys.tobytes()


def test_a_turned_grey_picture_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = stored(Image.fromarray(np.array([[0, 65535], [0, 65535]], dtype=np.uint16)), exif=exif)
    assert [upright.getpixel((x, y)) for x in (0, 1) for y in (0, 1)] == [(0, 0, 0), WHITE] * 2


def test_what_is_wrong_with_a_file_is_told_in_a_word(tmp_path: Path) -> None:
    (tmp_path / "a: the file is empty.png").write_bytes(b"no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    found = {name: inspect_picture(tmp_path / name).problems for name in ("a: the file is empty.png", "empty.png", "none.png")}
    assert list(found.values()) == [("broken",), ("empty",), ("missing",)]


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_colours_stay(mode: str) -> None:
    found = stored(halves(mode), "TIFF")
    assert (found.getpixel((1, 1)), found.getpixel((6, 1))) == (RED, BLUE)


def test_what_is_not_square_is_cut_to_its_middle_or_padded_with_white() -> None:
    wide = halves(size=(16, 8))
    cut, padded = square(wide, 8, fit="crop"), square(wide, 8, fit="pad")
    assert cut.size == padded.size == (8, 8)
    assert (cut.getpixel((0, 0)), cut.getpixel((7, 7))) == (RED, BLUE)
    assert [padded.getpixel((0, y)) for y in (0, 1, 6, 7)] == [WHITE] * 4
    assert (padded.getpixel((0, 4)), padded.getpixel((7, 4))) == (RED, BLUE)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        b"nonsense",  # no TIFF at all
        b"MM",  # cut off in the header
        b"II*\0\x08\0",  # and behind its beginning
        b"II*\0\x08\0\0\0\x05\0\x12\x01",  # five tags, and the first is cut off
        b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 0x0112, 2, 2, 65) + struct.pack("<HHII", 0x8769, 4, 1, 9999),  # words; beyond the end
        struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, 0x0112, 3, 1, 1, 0, 0)[:-2],
    ],
)
def test_a_good_picture_with_broken_exif_is_good(format: str, exif: bytes, tmp_path: Path) -> None:
    file = tmp_path / f"a.{format.lower()}"
    halves(size=(16, 8)).save(file, format=format, exif=b"Exif\0\0" + exif, dpi=(72, 72))
    seen = open_picture(file)
    assert max(abs(one - other) for one, other in zip(seen.getpixel((2, 4) if seen.width == 16 else (4, 2)), RED, strict=True)) < 30  # type: ignore[arg-type]
    assert inspect_picture(file).problems == ()
    assert read_provenance(file) is None
    assert inspect_picture_file(file)["format"] == format
