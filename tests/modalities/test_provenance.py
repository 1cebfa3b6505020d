import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tonggan.errors import UserError
from tonggan.modalities.provenance import Provenance, inspect_picture_file, parameters_text, read_provenance, save_picture

MADE = Provenance(
    "red heart 红心",
    "blurry",
    7,
    "emoji-64",
    "abcdef123456789",
    {"num_inference_steps": 12, "guidance_scale": 2.5, "solver": "multistep"},
    (8, 8),
    "tonggan",
    "2026",
    ("images/crimson-heart.png",),
)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_provenance_round_trip(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    save_picture(Image.new("RGB", (8, 8), "red"), path, MADE)
    assert read_provenance(path) == MADE
    told = inspect_picture_file(path)
    assert told["made_by_trained_algorithm"]
    assert told["parameters"] == parameters_text(MADE)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_without_the_prompt_no_byte_of_it_is_left(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    save_picture(Image.new("RGB", (8, 8), "red"), path, MADE, include_prompt=False)
    raw = path.read_bytes()
    told = str(inspect_picture_file(path))
    for secret in ("red heart", "红心", "blurry", "crimson"):
        assert secret not in told
        assert secret.encode() not in raw
        assert secret.encode("utf-16-be") not in raw
        assert zlib.compress(secret.encode()) not in raw
    assert inspect_picture_file(path)["made_by_trained_algorithm"]
    assert read_provenance(path).seed == 7


def test_parameters_are_in_the_form_of_a1111() -> None:
    lines = parameters_text(MADE).splitlines()
    assert lines[:2] == ["red heart 红心", "Negative prompt: blurry"]
    assert lines[2].startswith("Steps: 12, Sampler: multistep, CFG scale: 2.5, Seed: 7, Size: 8x8, Model hash: abcdef1234, Model: emoji-64")


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Known: \.png"):
        save_picture(Image.new("RGB", (8, 8)), tmp_path / "a.bmp", MADE)
    with pytest.raises(UserError, match="no such file"):
        inspect_picture_file(tmp_path / "none.png")
    long = replace(MADE, prompt="very long " * 2_000)
    with pytest.raises(UserError, match=r"a\.jpg: .*longer than a JPEG can hold"):
        save_picture(Image.new("RGB", (8, 8)), tmp_path / "a.jpg", long)
    assert list(tmp_path.iterdir()) == []
    save_picture(Image.new("RGB", (8, 8)), tmp_path / "a.webp", long)
    assert read_provenance(tmp_path / "a.webp") == long
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(UserError, match="not a picture"):
        inspect_picture_file(tmp_path / "text.png")


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image, target: Path, **_: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="no space left"):
        save_picture(Image.new("RGB", (8, 8)), tmp_path / "a.png", MADE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_an_animation_moves_and_says_how_it_was_made(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    save_picture(frames[0], path, MADE, frames=frames[1:])
    with Image.open(path) as opened:
        assert getattr(opened, "n_frames", 1) == 3
    assert read_provenance(path) == MADE
    assert inspect_picture_file(path)["made_by_trained_algorithm"]
