import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tonggan.cli import app
from tonggan.data.pack import pack
from tonggan.describing import describe, write_rows
from tonggan.errors import UserError
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.card import Card, Figure, differences
from tonggan.evaluation.features import FeatureNet
from tonggan.evaluation.request import Request, judge, repeat
from tonggan.evaluation.sentences import evaluate_sentences
from tonggan.pipeline import Tonggan

OF_THE_MODEL = {"seed_diversity", "shuffled_recall_at_5", "caption_sensitivity"}
"""Figures that need more of a model than its outputs."""


def by_key(figures: tuple[Figure, ...]) -> dict[str, float]:
    return {figure.key: figure.value for figure in figures}


@pytest.fixture(scope="module")
def drawn(drawer: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "out"
    judge(Request(model=str(drawer), data=str(shapes), split="train", settings={"num_inference_steps": 2}), out=out)
    return out


def test_pictures_of_another_system_get_the_figures_that_a_model_gets_for_them(drawn: Path, drawer: Path, shapes: Path) -> None:
    model = Card.load(drawn / "card.json")
    asked = Request(model="", data=str(shapes), split="train", pictures=str(drawn / "pictures"), like=str(drawer))
    other = judge(asked, out=drawn.with_name("other"))
    wanted = {key: value for key, value in by_key(model.figures).items() if key not in OF_THE_MODEL}
    assert by_key(other.figures) == pytest.approx(wanted, rel=1e-6)
    assert differences(model, other) == []
    assert [column.name for column in other.columns] == [column.name for column in model.columns]
    for mine, theirs in zip(other.columns, model.columns, strict=True):
        assert by_key(mine.figures) == pytest.approx(by_key(theirs.figures), rel=1e-6)
    assert (other.model.name, other.model.hashed, other.model.settings) == ("pictures", "outputs", {"pictures": str(drawn / "pictures")})
    assert other.warnings[0].startswith(f"Outputs of another system, read from {drawn / 'pictures'}")
    assert other.speed is None
    assert "outputs SHA-256" in (drawn.with_name("other") / "card.md").read_text()
    again, _, strayed = repeat(other, out=drawn.with_name("again"))
    assert (strayed, again.model) == ([], other.model)


def test_rows_are_found_by_name_and_by_number(drawn: Path, shapes: Path, tmp_path: Path) -> None:
    packed = pack(shapes, out=tmp_path / "pack")
    asked = Request(model="", data=str(packed.path), split="train")
    wanted = by_key(judge(replace(asked, pictures=str(drawn / "pictures")), out=tmp_path / "a").figures)
    numbered = tmp_path / "numbered"
    numbered.mkdir()
    for number, row in enumerate(packed.indices("train"), 1):
        Image.open(drawn / "pictures" / packed.row(int(row)).file_name).save(numbered / f"{number:04d}.webp", lossless=True)
    assert by_key(judge(replace(asked, pictures=str(numbered)), out=tmp_path / "b").figures) == pytest.approx(wanted)
    (numbered / "0001.webp").unlink()  # now nobody knows which rows the others number
    with pytest.raises(UserError, match=r"numbered: nothing of 12 of the 12 rows .*if all 12 are there"):
        judge(replace(asked, pictures=str(numbered)), out=tmp_path / "c")
    some = tmp_path / "some"
    shutil.copytree(drawn / "pictures", some)
    (some / "red-bar.png").unlink()
    with pytest.raises(UserError, match=r"some: nothing of 1 of the 12 rows \(red-bar\.png\)"):
        judge(replace(asked, pictures=str(some)), out=tmp_path / "c")
    shutil.copy(some / "red-circle.png", some / "red-circle.jpg")
    with pytest.raises(UserError, match=r"'red-circle\.jpg' and 'red-circle\.png' are of the same row"):
        judge(replace(asked, pictures=str(some)), out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_pictures_of_another_size_are_judged_at_it(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    for file in shapes.glob("*-square.png"):
        Image.open(file).resize((96, 96)).save(tmp_path / "large" / file.name)
    asked = Request(model="", data=str(shapes), pictures=str(tmp_path / "large"))
    assert judge(asked, out=tmp_path / "cards" / "a").data.picture_size == 96
    packed = pack(shapes, out=tmp_path / "pack")
    assert any("Drawn at 96x96" in warning for warning in judge(replace(asked, data=str(packed.path)), out=tmp_path / "b").warnings)


def test_sentences_of_another_system_get_the_figures_that_a_model_gets_for_them(describer: Tonggan, shapes: Path, tmp_path: Path) -> None:
    describer.save_pretrained(tmp_path / "model")
    asked = Request(model=str(tmp_path / "model"), data=str(shapes), split="train", arrow="image->text")
    model = judge(asked, out=tmp_path / "out")
    table = tmp_path / "said.jsonl"
    write_rows(lambda files: describe(describer, files, language="en"), sorted(shapes.glob("*.png")), table, root=shapes)
    other = judge(replace(asked, model="", captions=str(table), like=str(tmp_path / "model")), out=tmp_path / "other")
    own_space = {key for key in by_key(model.figures) if "_at_" in key}
    assert by_key(other.figures) == {key: value for key, value in by_key(model.figures).items() if key not in own_space}
    assert differences(model, other) == []
    assert other.warnings[0].startswith(f"Outputs of another system, read from {table}")
    table.write_text(table.read_text().split("\n", 1)[1])
    with pytest.raises(UserError, match=r"nothing of 1 of the 12 rows \(black-bar\.png\)"):
        judge(replace(asked, model="", captions=str(table)), out=tmp_path / "none")


def test_which_of_several_captions_retrieval_takes_is_told(describer: Tonggan, shapes: Path, tmp_path: Path) -> None:
    data, said = tmp_path / "data", "Retrieval takes the first caption of each picture (there are up to 2)"
    shutil.copytree(shapes, data)
    table = data / "metadata.jsonl"
    net = FeatureNet.load(input_size=64)
    one = evaluate_sentences(describer, Asked(pack(data, out=tmp_path / "one"), "test", tmp_path / "a"), net=net)
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    table.write_text("".join(json.dumps(row | {"text": [row["text"], f"a {row['text']}"]}) + "\n" for row in rows))
    two = evaluate_sentences(describer, Asked(pack(data, out=tmp_path / "two"), "test", tmp_path / "b"), net=net)
    assert [any(warning.startswith(said) for warning in card.warnings) for card in (one, two)] == [False, True]
    found = [{key: value for key, value in by_key(card.figures).items() if "_at_" in key} for card in (one, two)]
    assert found[0] == found[1] != {}


def test_what_is_judged_is_one_thing(shapes: Path, tmp_path: Path) -> None:
    asked = ["evaluate", "--data", str(shapes), "--out", str(tmp_path / "out"), "--pictures", str(shapes)]
    for more, said in (
        (["emoji-64"], "give one of them"),
        (["--best-of", "2"], "--best-of say how a model makes its outputs"),
        (["--arrow", "image->text"], "are judged as text->image"),
    ):
        result = CliRunner().invoke(app, [*asked, *more])
        assert isinstance(result.exception, UserError)
        assert said in str(result.exception)
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "card.json").read_text())["model"]["name"] == shapes.name
