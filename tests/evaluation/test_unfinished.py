from pathlib import Path

import pytest
from PIL import Image

from tonggan.data.loader import Phrasings
from tonggan.data.pack import Pack, pack
from tonggan.evaluation import evaluate as evaluate_module
from tonggan.evaluation import folder as folder_module
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


@pytest.mark.parametrize("stopped_in", ["save_pictures", "write_report", "save_card"])
def test_what_was_stopped_while_it_was_saved_goes_on(stopped_in: str, packed: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(whole := Painter(), packed, tmp_path / "whole")
    module = evaluate_module if stopped_in == "save_pictures" else folder_module
    done = getattr(module, stopped_in)

    def stopped(*given: object, **options: object) -> None:
        done(*given, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, stopped_in, stopped)
    with pytest.raises(KeyboardInterrupt):
        run(Painter(), packed, tmp_path / "out")
    monkeypatch.setattr(module, stopped_in, done)
    assert list((tmp_path / "out" / "pictures").iterdir())
    run(rest := Painter(), packed, tmp_path / "out")
    assert (len(whole.batches) > 0, rest.batches) == (True, [])
    files = [sorted(each.relative_to(tmp_path / name).as_posix() for each in (tmp_path / name).rglob("*")) for name in ("whole", "out")]
    assert files[0] == files[1]
