from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tonggan.errors import UserError
from tonggan.training.preflight import dry_run, overfit
from tonggan.training.recipe import Recipe, load_recipe, parse_recipe, set_dotted
from tonggan.training.run import Run

QUIET = Console(quiet=True)


@pytest.mark.slow
def test_four_samples_are_learned_by_heart(shapes: Path, tmp_path: Path) -> None:
    overrides = [
        f"data.path={shapes}",
        "data.phrasings=null",
        "data.size=32",
        "model.decoders.image.size=32",
        "schedule.batch_size=16",
        "model.encoders.text.vocabulary=300",
        "model.decoders.image.layers=2",
        "model.decoders.image.width=160",
    ]
    recipe = load_recipe("emoji-64", overrides=[*overrides, "model.encoders.text.layers=1", "model.decoders.image.stem_channels=[32, 64]"])
    assert overfit(recipe, count=4, out=tmp_path / "out", cache=tmp_path, console=QUIET)
    assert (tmp_path / "out" / "text-to-image-made.png").is_file()


def test_every_arrow_is_judged_by_heart(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("flickr8k-64", smoke=True, overrides=[f"data.path={shapes}", "data.augment=null", "dtype=float32"])
    monkeypatch.setattr("tonggan.training.preflight.STEPS_BETWEEN_LOOKS", 4)
    told = StringIO()
    assert not overfit(recipe, count=2, out=tmp_path / "out", cache=tmp_path, console=Console(file=told, width=300), max_steps=6)
    lines = told.getvalue().splitlines()
    assert lines[0] == "overfit: 2 samples, batches of 8, at most 6 steps; text->image, image->text judged every 4"
    assert lines[1] == "overfit: at most about 1 min here, and the time of the looks"
    assert [line.partition(":")[0] for line in lines[2:4]] == ["step 4", "step 6"]
    assert all(arrow in lines[3] for arrow in ("text->image closeness", "image->text closeness"))
    assert lines[4].startswith("overfit FAILED: 2 samples, 6 steps")
    assert {"text-to-image-made.png", "text-to-image-truth.png", "image-to-text-made.txt"} <= {each.name for each in (tmp_path / "out").iterdir()}


def test_a_dry_run_refuses_a_figure_that_is_not_measured(shapes: Path, tmp_path: Path) -> None:
    recipe = load_recipe("emoji-64", smoke=True, overrides=[f"data.path={shapes}", "dtype=float32", "monitor.best_by=nonsense"])
    with pytest.raises(UserError, match=r"monitor\.best_by: 'nonsense' is not measured"):
        dry_run(recipe, cache=tmp_path, console=QUIET)


def test_a_dry_run_holds_out_what_the_run_would(small_recipe: Recipe, tmp_path: Path) -> None:
    settings = small_recipe.model_dump(mode="json")
    set_dotted(settings, "data.hold_out", 0.0)
    Run(parse_recipe(settings, where="test"), tmp_path / "first", resume=False, console=QUIET, cache=tmp_path).train()
    set_dotted(settings, "data.hold_out", 0.2)
    settings["initial"] = str(tmp_path / "first")
    recipe, tried, trained = parse_recipe(settings, where="test"), StringIO(), StringIO()
    dry_run(recipe, cache=tmp_path, console=Console(file=tried, width=500))
    Run(recipe, tmp_path / "second", resume=False, console=Console(file=trained, width=500), cache=tmp_path)
    told = [[line for line in each.getvalue().splitlines() if line.startswith("data: ")] for each in (tried, trained)]
    assert told[0] == told[1]
    assert "learned from" in told[0][-1]


def test_a_check_refuses_what_a_run_would_before_anything_is_packed(shapes: Path, tmp_path: Path) -> None:
    recipe = load_recipe("emoji-64-words", smoke=True, overrides=[f"data.path={shapes}", "dtype=float32", "objectives.adversarial={}"])
    for check in (
        lambda: dry_run(recipe, cache=tmp_path, console=QUIET),
        lambda: overfit(recipe, count=2, out=tmp_path / "out", cache=tmp_path, console=QUIET),
    ):
        with pytest.raises(UserError, match="there is no discriminator for text, only for image, audio"):
            check()
    assert not list(tmp_path.iterdir())
