import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from tonggan.data.pack import pack
from tonggan.errors import UserError
from tonggan.evaluation.asked import Asked
from tonggan.evaluation.card import Card, Figure
from tonggan.evaluation.circumstances import differing, surroundings
from tonggan.evaluation.evaluate import evaluate
from tonggan.evaluation.features import FeatureNet
from tonggan.evaluation.inception import InceptionNet
from tonggan.evaluation.paired import load_rows
from tonggan.evaluation.request import Request, deviations, judge, reference_split, repeat, tolerance
from tonggan.evaluation.vision import VisionNet
from tonggan.modalities import Framing
from tonggan.pipeline import Tonggan
from tonggan.training.revision import commit


@pytest.fixture(scope="module")
def card(drawer: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated") / "out"
    judge(Request(model=str(drawer), data=str(shapes), split="train", limit=8, settings={"num_inference_steps": 2}, best_of=2), out=out)
    return out / "card.json"


def test_a_card_is_repeated_figure_by_figure(card: Path, tmp_path: Path) -> None:
    before = Card.load(card)
    again, count, differing = repeat(before, out=tmp_path / "again")
    assert differing == []
    assert count == len(before.figures) + sum(len(column.figures) for column in before.columns) > 30
    assert again.request == before.request
    other = replace(before.figure("sharpness"), value=before.figure("sharpness").value + 0.1)
    changed = replace(before, figures=tuple(other if each.key == other.key else each for each in before.figures))
    (found,) = deviations(changed, again)
    assert (found.column, found.key, found.before) == ("the model", "sharpness", other.value)


def test_rows_that_the_model_was_trained_on_are_told(card: Path, drawer: Path, shapes: Path, tmp_path: Path) -> None:
    judged = Card.load(card)
    model = Tonggan.from_pretrained(drawer)
    packed = pack(shapes, framing=model.framing, out=tmp_path / "pack")
    learned = model.learned_from(packed, packed.indices("train"))
    assert learned is not None
    names = {packed.row(int(index)).file_name for index in packed.indices("train")[learned]}
    rows = [json.loads(line)["file_name"] for line in (card.parent / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    count = sum(name in names for name in rows)
    assert count == 4
    assert judged.warnings[0] == "The model was trained on 4 of these 8 rows: the figures say how well it remembers, not what it can do."


def test_rows_are_known_under_other_names_in_another_data_set(drawer: Path, shapes: Path, tmp_path: Path) -> None:
    model = Tonggan.from_pretrained(drawer)
    for number, name in enumerate(("red-bar", "blue-frame", "red-square")):  # the last one is of the test split
        shutil.copy(shapes / f"{name}.png", tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("a thing")
    packed = pack(tmp_path, framing=model.framing, out=tmp_path / "pack")
    learned = model.learned_from(packed, packed.indices("train"))
    assert learned is not None
    assert not learned[2]
    assert learned[:2].any()


def test_the_card_says_what_was_trained(card: Path, drawer: Path) -> None:
    recorded = json.loads((drawer / "run.json").read_text())
    config = json.loads((drawer / "model" / "config.json").read_text())
    trained = Card.load(card).model.trained
    assert (recorded["commit"], config["commit"]) == (commit(), commit())
    assert trained == {
        "recipe": recorded["recipe"]["name"],
        "recipe_hash": trained["recipe_hash"],
        "seed": recorded["recipe"]["seed"],
        "samples": config["trained"]["samples"],
        "split": "train",
        "data": recorded["data"],
        "dtype": recorded["dtype"],
        "ema_decay": recorded["recipe"]["ema_decay"],
        "tonggan": recorded["tonggan"],
        "commit": commit(),
    }
    assert f"seed {trained['seed']}" in card.with_name("card.md").read_text()


def test_the_commit_is_that_of_the_checkout_or_none(tmp_path: Path) -> None:
    assert commit(tmp_path) is None
    (tmp_path / ".git").mkdir()
    assert commit(tmp_path) is None  # a folder of that name is no checkout yet
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    commit.cache_clear()
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert commit(tmp_path) == head


def test_copies_and_floors_are_sought_in_the_split_that_was_trained_on(drawer: Path, shapes: Path, tmp_path: Path) -> None:
    data, model = tmp_path / "data", tmp_path / "model"
    shutil.copytree(shapes, data)
    table = data / "metadata.jsonl"
    table.write_text(table.read_text().replace('"split": "train"', '"split": "first"'))
    shutil.copytree(drawer / "model", model)
    config = json.loads((model / "config.json").read_text())
    config["recipe"]["data"]["train_split"] = "first"
    (model / "config.json").write_text(json.dumps(config))
    packed = pack(data, out=tmp_path / "pack")
    for file in data.glob("*.png"):
        ImageOps.invert(Image.open(file).convert("RGB")).save(file)

    def judged(path: Path, name: str) -> Card:
        return judge(Request(model=str(model), data=str(path), limit=2, settings={"num_inference_steps": 1}), out=tmp_path / "cards" / name)

    own, other = judged(packed.path, "own"), judged(data, "other")
    assert "random pictures of 'first'" in next(column.note for column in own.columns if column.name == "other real pictures")
    assert "copy_rate" in {figure.name for figure in own.figures}
    assert not any("reference rows" in warning for warning in own.warnings)
    assert other.warnings[0].startswith("The reference rows ('first' of this data) are not what the model was trained on")
    assert [reference_split(packed, name) for name in ("first", "none")] == ["first", "none"]  # it has no split 'train'
    assert reference_split(pack(shapes, out=tmp_path / "shapes"), "none") == "train"


def test_rows_and_page_name_the_seeds_of_the_best_of_several(card: Path) -> None:
    rows = [json.loads(line) for line in (card.parent / "rows.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in rows] == [0, 2, 4, 6, 8, 10, 12, 14]
    for page in ("report.html", "card.md"):
        assert "0 to 15, the best of 2 a row" in (card.parent / page).read_text()


def test_clips_packed_at_another_rate_are_not_judged(clips: Path, tmp_path: Path) -> None:
    slower = pack(clips, framing=Framing(frames_per_second=10.0), out=tmp_path / "pack")
    with pytest.raises(UserError, match=r"packed with frames_per_second 10.0, and 'foley-fast' takes 25.0.*--frames-per-second 25.0"):
        judge(Request(model="foley-fast", data=str(slower.path), split="train", arrow="video->audio"), out=tmp_path / "out")


def test_what_cannot_be_repeated_is_said(card: Path, tmp_path: Path) -> None:
    before = Card.load(card)
    with pytest.raises(UserError, match="does not say how it was asked for"):
        repeat(replace(before, request={}), out=tmp_path / "out")
    with pytest.raises(UserError, match="has other weights now"):
        repeat(replace(before, model=replace(before.model, weights_hash="0" * 64)), out=tmp_path / "out")
    with pytest.raises(UserError, match="holds other data now"):
        repeat(replace(before, data=replace(before.data, content_hash="0" * 64)), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="settings are not what they were"):
        repeat(replace(before, model=replace(before.model, settings={})), out=tmp_path / "out")
    with pytest.raises(UserError, match="cannot be evaluated"):
        judge(replace(Request("a", "b"), arrow="text->sound"), out=tmp_path / "out")
    with pytest.raises(UserError, match="no figure in common with video->audio"):
        judge(replace(Request("a", "b"), arrow="video->audio"), out=tmp_path / "out", beside=[before])
    with pytest.raises(UserError, match="the image decoder 'image_flow' has no setting 'num_beams'"):
        judge(Request("emoji-64", "none", settings={"num_beams": 2}), out=tmp_path / "out")
    with pytest.raises(UserError, match="networks for pictures"):
        judge(replace(Request("a", "b"), arrow="image->text", features=("inception",)), out=tmp_path / "out")


def test_what_may_be_why_a_figure_does_not_repeat(card: Path) -> None:
    before = Card.load(card)
    assert differing([before, before], surroundings) == {}
    later = replace(before, versions=before.versions | {"torch": "9.9"}, machine=replace(before.machine, processor="abacus"))
    assert differing([before, later], surroundings) == {"torch": (before.versions["torch"], "9.9"), "machine": (before.machine.processor, "abacus")}


def test_a_figure_repeats_within_a_thousandth_or_a_hundredth_of_its_interval() -> None:
    assert tolerance(Figure("fid", 10.0, 9.0, 11.0, 64)) == pytest.approx(0.02)
    assert tolerance(Figure("fid", 100.0, 99.9, 100.1, 64)) == pytest.approx(0.1)
    assert tolerance(Figure("exact", 0.0, None, None, 64)) > 0


def test_a_card_is_a_page_of_markdown_too(card: Path) -> None:
    text, facts = card.with_name("card.md").read_text(encoding="utf-8"), Card.load(card)
    for told in (
        facts.model.weights_hash,
        facts.data.content_hash,
        facts.data.rows_hash,
        facts.features.sha256,
        facts.machine.processor,
        *facts.warnings,
    ):
        assert told in text
    table = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(table) == len(facts.figures)
    assert "tonggan evaluate --repeat card.json" in text


def test_rows_have_the_figures_that_are_means_over_them(card: Path) -> None:
    rows, facts = load_rows(card), Card.load(card)
    assert rows is not None
    assert len(rows) == 8
    for key in rows[0]["figures"]:
        assert sum(row["figures"][key] for row in rows) / 8 == pytest.approx(facts.figure(key).value, abs=1e-5)
    card.with_name("other.jsonl").write_text("{}\n")
    assert load_rows(card.with_name("no-such-folder") / "card.json") is None


def test_the_curve_of_training_is_in_the_report(card: Path) -> None:
    page = card.with_name("report.html").read_text(encoding="utf-8")
    assert "Training" in page
    assert page.count("<polyline") >= 4  # held out and training; the model and chance
    assert not re.search(r'(src|href)="https?:', page)


def test_each_network_has_its_own_figures(shapes: Path, drawer: Path, clip: Path, inception_file: Path, tmp_path: Path) -> None:
    expected = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    nets = [InceptionNet.load(inception_file, expected=expected), VisionNet.load(str(clip))]
    packed = pack(shapes, out=tmp_path / "pack")
    model = Tonggan.from_pretrained(drawer)
    net = FeatureNet.load(input_size=64)
    found = evaluate(model, Asked(packed, "train", tmp_path / "out", limit=8, reference="train"), net=net, nets=nets, shuffled=0)
    keys = [figure.key for figure in found.figures]
    looked_up = next(column for column in found.columns if column.name == "nearest training caption")
    assert {"clip_score @ clip clip", "fid @ inception-v3"} <= {figure.key for figure in looked_up.figures}
    assert {"fid @ inception-v3", "kid @ inception-v3", "mind @ inception-v3", "density @ inception-v3"} <= set(keys)
    assert {"cmmd @ clip clip", "clip_score @ clip clip", "frechet_distance @ clip clip", "frechet_distance"} <= set(keys)
    assert len(keys) == len(set(keys))
    assert [each.name for each in found.nets] == ["inception-v3", "clip clip"]
    assert "torch-fidelity" in found.nets[0].note
    floor = next(column for column in found.columns if column.name == "other real pictures")
    assert "fid @ inception-v3" in {figure.key for figure in floor.figures}
    assert any("FID" in warning and "biased" in warning for warning in found.warnings)
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all("clip_score @ clip clip" in row["figures"] for row in rows)


def test_broken_files_that_a_model_was_trained_despite_do_not_stop_its_evaluation(drawer: Path, shapes: Path, tmp_path: Path) -> None:
    data, tolerant = tmp_path / "data", tmp_path / "tolerant"
    shutil.copytree(shapes, data)
    for name in ("red-bar.png", "blue-bar.png"):  # one of so few would be left out in any case
        (data / name).write_bytes(b"no picture")
    shutil.copytree(drawer / "model", tolerant)
    config = json.loads((tolerant / "config.json").read_text())
    config["recipe"]["data"]["max_broken_rate"] = 0.2
    (tolerant / "config.json").write_text(json.dumps(config))
    asked = Request(model=str(tolerant), data=str(data), split="train", limit=2, settings={"num_inference_steps": 1})
    assert judge(asked, out=tmp_path / "cards" / "out").data.samples == 2
    with pytest.raises(UserError, match=r"cannot be read \(limit 1\): red-bar\.png, blue-bar\.png"):
        judge(replace(asked, model=str(drawer)), out=tmp_path / "cards" / "other")
