import json
import re
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from tonggan.data.loader import Batch
from tonggan.data.pack import ensure_pack
from tonggan.discriminators.game import FEW_LOOKED_AT
from tonggan.errors import UserError
from tonggan.modalities import Framing
from tonggan.objectives.terms import LossTerms
from tonggan.progress import counted
from tonggan.training.recipe import Recipe, load_recipe
from tonggan.training.run import Run
from tonggan.training.sources import open_data, open_pack


def test_a_folder_without_english_is_previewed_by_the_captions_it_has(shapes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "形状"
    shutil.copytree(shapes, folder)
    rows = [json.loads(line) for line in (shapes / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    chinese = [{"file_name": row["file_name"], "text": {"zh": row["label"]["zh"]}} for row in rows]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chinese), encoding="utf-8")
    recipe = load_recipe("emoji-64", smoke=True, overrides=[f"data.path={folder}", "data.hold_out=0.2", "model.encoders.text.vocabulary=300"])
    assert recipe.data.phrasings is not None
    assert next(iter(recipe.data.phrasings)) == "en"
    console = Console(file=StringIO(), width=300)
    previews = open_data(recipe, cache=tmp_path, console=console).previews
    assert "a held-out loss over 7 rows says little" in console.file.getvalue()
    assert set(previews.inputs["text"]) <= {row["text"]["zh"] for row in chinese}


@pytest.mark.parametrize(("recipe", "share", "judged"), [("emoji-64-gan", 0.2, True), ("emoji-64-gan", 0, True), ("emoji-64", 0.2, False)])
def test_too_few_rows_to_look_at_a_game_by_are_told(recipe: str, share: float, judged: bool, shapes: Path, tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=400)
    found = open_data(load_recipe(recipe, smoke=True, overrides=[f"data.path={shapes}", f"data.hold_out={share}"]), cache=tmp_path, console=console)
    assert len(found.held_rows) < FEW_LOOKED_AT
    told = f"by {counted(len(found.held_rows), 'rows')} held out it cannot be seen whether the discriminator learns the others by heart"
    assert (told in console.file.getvalue()) == judged


def test_a_pack_of_another_form_than_the_recipes_is_refused(shapes: Path, tmp_path: Path) -> None:
    pack = ensure_pack(shapes, framing=Framing(size=32), cache=tmp_path)
    with pytest.raises(UserError, match="is packed with size 32, the recipe wants 64"):
        open_pack(load_recipe("emoji-64", overrides=[f"data.path={pack.path}"]), cache=tmp_path)


def test_the_advice_for_a_pack_of_another_rate_can_be_followed(clips: Path, tmp_path: Path) -> None:
    made = ensure_pack(clips, framing=Framing(frames_per_second=12.5), cache=tmp_path)
    with pytest.raises(UserError, match=r"Set (.*) behind train, all of them, or pack again with --frames-per-second 25\.0") as refused:
        open_pack(load_recipe("foley", overrides=[f"data.path={made.path}"]), cache=tmp_path)
    advice = str(refused.value).partition("Set ")[2].partition(" behind train")[0].split()
    assert advice == ["data.frames_per_second=12.5", "model.encoders.video.frames_per_second=12.5"]
    assert len(open_pack(load_recipe("foley", overrides=[f"data.path={made.path}", *advice]), cache=tmp_path)) == len(made)
    with pytest.raises(UserError, match=r"Set all of data\.frames_per_second, model\.encoders\.video\.frames_per_second to what the data has"):
        load_recipe("foley", overrides=advice[:1])


def test_held_out_batches_are_the_same_whatever_the_batch_size_and_the_seed(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(*overrides: str) -> list[tuple[int, str]]:
        told = [f"data.path={shapes}", "data.hold_out=0", "monitor.validation_samples=10", *overrides]
        data = open_data(load_recipe("emoji-64", smoke=True, overrides=told), cache=tmp_path, console=Console(quiet=True))
        return [row for batch in data.held_out for row in zip(batch.indices.tolist(), batch.inputs["text"], strict=True)]

    monkeypatch.setattr("tonggan.training.sources.HELD_OUT_BATCH", 4)
    rows = judged("schedule.batch_size=3")
    assert rows == judged("schedule.batch_size=8") == judged("seed=7")
    assert len(rows) == len({row for row, _ in rows}) == 10


def test_every_held_out_row_counts_alike_under_the_same_noise(small_recipe: Recipe, tmp_path: Path) -> None:
    run = Run(small_recipe, tmp_path / "run", resume=False, console=Console(quiet=True))
    two = replace(run.data.held_out[0], indices=np.arange(2))
    drawn = []

    def loss(batch: Batch, randomness: torch.Generator) -> LossTerms:
        drawn.append(randomness.initial_seed())
        return LossTerms({"rows": torch.tensor(float(len(batch.indices)))})

    object.__setattr__(run.learner.players[0], "loss", loss)
    for seed in (0, 4):
        run.learner.recipe = run.recipe.model_copy(update={"seed": seed})
        assert run.learner.held_out_loss([two, replace(two, indices=two.indices[:1])])["loss"] == pytest.approx((2 * 2 + 1 * 1) / 3)
    assert drawn[:2] == drawn[2:]


@pytest.mark.parametrize(
    ("phrasings", "said"),
    [
        ("{en: {templates: ['{caption}', '{labl.zh}']}}", "no row fills the phrasing '{labl.zh}': .*No row has a 'labl.zh'. Did you mean 'label.zh'"),
        ("{en: {templates: ['{caption}', 'a {label.zh}']}, fr: {templates: ['{none}']}}", None),  # no row has French
    ],
)
def test_a_phrasing_that_no_row_fills_is_told_in_one_line(phrasings: str, said: str | None, shapes: Path, tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=600)
    recipe = load_recipe("emoji-64", smoke=True, overrides=[f"data.path={shapes}", f"data.phrasings={phrasings}"])
    open_data(recipe, cache=tmp_path, console=console)
    lines = [line for line in console.file.getvalue().splitlines() if "no row fills" in line]
    assert len(lines) == (said is not None)
    assert said is None or re.search(said, lines[0])


def test_other_data_is_told_once_that_a_recipes_phrasings_are_not_for_it(shapes: Path, tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=600)
    open_data(load_recipe("emoji-64", smoke=True, overrides=[f"data.path={shapes}"]), cache=tmp_path, console=console)
    (line,) = [line for line in console.file.getvalue().splitlines() if "no row fills" in line]
    assert "(nor 7 others)" in line
