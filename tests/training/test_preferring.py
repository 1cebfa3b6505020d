import json
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tonggan.errors import UserError
from tonggan.pipeline import Tonggan
from tonggan.training.checkpoint import checkpoint_folders
from tonggan.training.recipe import Recipe, load_recipe, parse_recipe, set_dotted
from tonggan.training.run import InterruptedRunError, Run

QUIET = Console(quiet=True)


@pytest.fixture
def parent(small_recipe: Recipe, tmp_path: Path) -> Path:
    Run(small_recipe, tmp_path / "parent", resume=False, console=QUIET, cache=tmp_path).train()
    return tmp_path / "parent"


def preferring(small_recipe: Recipe, parent: Path, preferences: Path, **changes: object) -> Recipe:
    settings = small_recipe.model_dump(mode="json") | {"initial": str(parent)}
    settings["objectives"] |= {"align": 0.0, "prefer": {"preferences": str(preferences), "beta": 50.0, "keep": 1.0, "hold_out": 0.2} | changes}
    settings["optimizer"] |= {"kind": "adamw", "learning_rate": 1e-3}
    return parse_recipe(settings, where="test")


def test_preferring_trains_the_decoder_alone(small_recipe: Recipe, parent: Path, preferences: Path, tmp_path: Path) -> None:
    Run(preferring(small_recipe, parent, preferences), tmp_path / "child", resume=False, console=QUIET, cache=tmp_path).train()
    before, after = (Tonggan.from_pretrained(each) for each in (parent, tmp_path / "child"))
    moved = {name for name, tensor in before.model.state_dict().items() if not torch.equal(after.model.state_dict()[name], tensor)}
    assert moved
    assert all(name.startswith("decoders.image.") for name in moved)
    lines = [json.loads(line) for line in (tmp_path / "child" / "journal.jsonl").read_text().splitlines()]
    margins = [line["margin"] for line in lines if line["kind"] == "train"]
    assert margins[0] == pytest.approx(0, abs=1e-3)
    assert margins[-1] > 0
    assert {"prefer", "keep", "agreed", "chosen", "rejected"} <= lines[-1].keys()
    assert after.config["trained"]["preferences"] == json.loads((tmp_path / "child" / "run.json").read_text())["preferences"]


def test_a_stopped_run_goes_on_with_the_same_bits(small_recipe: Recipe, parent: Path, preferences: Path, tmp_path: Path) -> None:
    recipe = preferring(small_recipe, parent, preferences)
    straight = Run(recipe, tmp_path / "a", resume=False, console=QUIET, cache=tmp_path)
    straight.train()
    stopped = Run(recipe, tmp_path / "b", resume=False, console=QUIET, cache=tmp_path)
    real = stopped.learner.advance

    def advance(loader: object) -> object:
        stopped.stop_asked = stopped.learner.step == 4
        return real(loader)  # type: ignore[arg-type]

    stopped.learner.advance = advance  # type: ignore[method-assign,assignment]
    with pytest.raises(InterruptedRunError):
        stopped.train()
    Run(recipe, tmp_path / "b", resume=True, console=QUIET, cache=tmp_path).train()
    first, second = (load_file(checkpoint_folders(tmp_path / name / "checkpoints")[-1] / "state.safetensors") for name in "ab")
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_votes_that_changed_are_another_run(small_recipe: Recipe, parent: Path, preferences: Path, tmp_path: Path) -> None:
    mine = tmp_path / "votes" / "train.jsonl"
    shutil.copytree(preferences.parent, mine.parent)
    recipe = preferring(small_recipe, parent, mine)
    Run(recipe, tmp_path / "child", resume=False, console=QUIET, cache=tmp_path).train()
    mine.write_text("".join(f"{line}\n" for line in preferences.read_text().splitlines()[:-1]))
    with pytest.raises(UserError, match=r"train\.jsonl holds other data"):
        Run(recipe, tmp_path / "child", resume=True, console=QUIET, cache=tmp_path)


def test_mistakes_of_a_recipe(small_recipe: Recipe, parent: Path, preferences: Path, tmp_path: Path) -> None:
    def begin(recipe: Recipe) -> None:
        Run(recipe, tmp_path / "none", resume=False, console=QUIET, cache=tmp_path)

    with pytest.raises(UserError, match=r"model 'emoji-46' is neither.*Did you mean 'emoji-64'"):
        begin(preferring(small_recipe, parent, preferences, reference="emoji-46"))
    with pytest.raises(UserError, match=r"no such file.*votes export"):
        begin(preferring(small_recipe, parent, tmp_path / "gone.jsonl"))
    settings = preferring(small_recipe, parent, preferences, reference="emoji-64").model_dump(mode="json")
    settings["model"]["decoders"]["image"] |= {"references": 0, "look_every": 0}
    blind = parse_recipe(settings, where="test")
    with pytest.raises(UserError, match=r"its references is 4, this model's 0"):
        begin(blind)
    set_dotted(settings, "objectives.distil", {"teacher": "emoji-64"})
    with pytest.raises(UserError, match="two goals for one decoder"):
        parse_recipe(settings, where="test")
    with pytest.raises(UserError, match=r"unknown key 'objectives\.prefer\.betta'.*Did you mean 'beta'"):
        load_recipe("emoji-64-preferred", overrides=["objectives.prefer.betta=1"])


def test_a_base_may_have_a_base(tmp_path: Path) -> None:
    recipe = load_recipe("emoji-64-preferred")
    assert recipe.model.decoders["image"].guidance_scale == 1  # type: ignore[attr-defined]
    assert recipe.data.fit == "pad"
    for name, base in (("one", "two"), ("two", "one")):
        (tmp_path / f"{name}.yaml").write_text(f"base: {tmp_path / base}.yaml\n")
    with pytest.raises(UserError, match="leads back"):
        load_recipe(str(tmp_path / "one.yaml"))
