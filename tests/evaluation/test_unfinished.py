from pathlib import Path

import pytest
from PIL import Image

from tonggan.data.loader import Phrasings
from tonggan.data.pack import Pack, pack
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.evaluate import evaluate
from tonggan.evaluation.unfinished import UNFINISHED


class Painter:
    """Draws a square of the seed's grey, and is stopped before the batch `stopped_at`."""

    name = "painter"
    phrasings: Phrasings | None = None

    def __init__(self, weights_hash: str = "1" * 64, *, stopped_at: int | None = None, scale: int = 1) -> None:
        self.weights_hash, self.stopped_at, self.scale = weights_hash, stopped_at, scale
        self.batches: list[list[int]] = []

    def settings(self) -> dict[str, int]:
        return {"scale": self.scale}

    def generate(self, inputs: list[str], *, to: str, seeds: list[int]) -> list[Image.Image]:
        if len(self.batches) == self.stopped_at:
            raise KeyboardInterrupt
        self.batches.append(seeds)
        return [Image.new("RGB", (64, 64), (seed * self.scale % 256, len(text), 0)) for text, seed in zip(inputs, seeds, strict=True)]


@pytest.fixture
def packed(shapes: Path, tmp_path: Path) -> Pack:
    return pack(shapes, out=tmp_path / "pack")


def run(painter: Painter, packed: Pack, out: Path) -> None:
    evaluate(painter, Asked(packed, "train", out), batch_size=2, shuffled=4)


def test_what_was_drawn_before_a_stop_is_not_drawn_again(packed: Pack, tmp_path: Path) -> None:
    run(whole := Painter(), packed, tmp_path / "whole")
    assert not (tmp_path / "whole" / UNFINISHED).exists()
    with pytest.raises(KeyboardInterrupt):
        run(Painter(stopped_at=3), packed, tmp_path / "out")
    assert len(list((tmp_path / "out" / UNFINISHED).glob("*.npz"))) == 3
    run(rest := Painter(), packed, tmp_path / "out")
    assert rest.batches == whole.batches[3:]
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == (tmp_path / "whole" / "rows.jsonl").read_bytes()
    assert not (tmp_path / "out" / UNFINISHED).exists()


@pytest.mark.parametrize("other", [{"weights_hash": "2" * 64}, {"scale": 2}])
def test_what_others_drew_is_not_taken(packed: Pack, tmp_path: Path, other: dict[str, object]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Painter(stopped_at=3), packed, tmp_path / "out")
    run(whole := Painter(**other), packed, tmp_path / "out")  # type: ignore[arg-type]
    run(again := Painter(), packed, tmp_path / "again")
    assert whole.batches == again.batches
