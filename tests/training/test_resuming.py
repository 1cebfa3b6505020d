import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from tonggan.errors import UserError
from tonggan.training.checkpoint import checkpoint_folders
from tonggan.training.recipe import Recipe
from tonggan.training.run import InterruptedRunError, Run

QUIET = Console(quiet=True)
SCRIPT = """
import json, sys, torch
from pathlib import Path
from rich.console import Console
from tonggan.training.recipe import parse_recipe
from tonggan.training.run import Run
recipe = parse_recipe(json.loads(Path(sys.argv[1]).read_text()), where="test")
Run(recipe, Path(sys.argv[2]), resume=sys.argv[3] == "resume", console=Console(quiet=True), cache=Path(sys.argv[4])).train()
"""


def final_state(out: Path) -> dict[str, torch.Tensor]:
    return load_file(str(checkpoint_folders(out / "checkpoints")[-1] / "state.safetensors"))


def longer(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"samples": 240})})


@pytest.mark.slow
def test_sigkill_and_resume_end_with_the_same_bits(small_recipe: Recipe, tmp_path: Path) -> None:
    recipe = longer(small_recipe)
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "recipe.json")]
    straight = subprocess.run([*command, str(tmp_path / "a"), "start", str(tmp_path)], check=False)
    assert straight.returncode == 0
    process = subprocess.Popen([*command, str(tmp_path / "b"), "start", str(tmp_path)])
    deadline = time.time() + 120
    while len(checkpoint_folders(tmp_path / "b" / "checkpoints")) < 2 and time.time() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert subprocess.run([*command, str(tmp_path / "b"), "resume", str(tmp_path)], check=False).returncode == 0
    first, second = final_state(tmp_path / "a"), final_state(tmp_path / "b")
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert subprocess.run([*command, str(tmp_path / "b"), "resume", str(tmp_path)], check=False).returncode == 0  # finished: nothing is said twice
    lines = [[json.loads(line) for line in (tmp_path / name / "journal.jsonl").read_text().splitlines()] for name in "ab"]
    events = [[(line["step"], line["kind"]) for line in each] for each in lines]
    assert events[0] == events[1]
    assert len(set(events[0])) == len(events[0])


def test_a_run_that_ended_before_its_first_checkpoint_is_begun_again(small_recipe: Recipe, tmp_path: Path) -> None:
    Run(small_recipe, tmp_path / "run", resume=False, console=QUIET)
    assert (tmp_path / "run" / "run.json").is_file()
    with pytest.raises(UserError, match="no checkpoint was written there"):
        Run(small_recipe, tmp_path / "run", resume=True, console=QUIET)
    Run(small_recipe, tmp_path / "run", resume=False, console=QUIET)


def test_a_resumed_run_is_watched_as_it_is_asked_now(small_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError):
        stopped(Run(small_recipe, tmp_path / "run", resume=False, console=QUIET)).train()
    data = small_recipe.data.model_copy(update={"source": "my own drawings"})
    other = small_recipe.model_copy(update={"data": data, "monitor": small_recipe.monitor.model_copy(update={"checkpoint_every": 3})})
    assert Run(other, tmp_path / "run", resume=True, console=QUIET).recipe.monitor.checkpoint_every == 3
    chosen = small_recipe.model_copy(update={"monitor": small_recipe.monitor.model_copy(update={"best_by": "latest"})})
    with pytest.raises(UserError, match=r"best_by is latest, but the best of .* was chosen with loss"):
        Run(chosen, tmp_path / "run", resume=True, console=QUIET)


def test_slow_steps_make_checkpoints_by_the_clock_and_learn_the_same(small_recipe: Recipe, tmp_path: Path) -> None:
    for name, minutes in (("clock", 1e-9), ("steps", 0.0)):
        monitor = small_recipe.monitor.model_copy(update={"checkpoint_every": 200, "checkpoint_minutes": minutes, "keep": 99})
        Run(small_recipe.model_copy(update={"monitor": monitor}), tmp_path / name, resume=False, console=QUIET, cache=tmp_path).train()
    kept = {name: [int(each.name[5:]) for each in checkpoint_folders(tmp_path / name / "checkpoints")] for name in ("clock", "steps")}
    assert kept == {"clock": list(range(9)), "steps": [0, 8]}
    one, other = (final_state(tmp_path / name) for name in ("clock", "steps"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_resumed_run_says_where_it_goes_on_from(small_recipe: Recipe, tmp_path: Path) -> None:
    run = Run(small_recipe, tmp_path / "run", resume=False, console=QUIET)
    for _ in range(2):
        run.learner.advance(run.data.loader)
    with pytest.raises(InterruptedRunError):
        stopped(run).train()
    for said in ("goes on from step 2 of 8\n", "ended before, at step 8 of 8\n"):
        told = StringIO()
        Run(small_recipe, tmp_path / "run", resume=True, console=Console(file=told, width=300)).train()
        assert said in told.getvalue()


def stopped(run: Run) -> Run:
    run.stop_asked = True
    return run


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("model.space.", r"lacks tensors of the model \(\d+, first: space\..*remove its folder"),
        ("average.space.", r"lacks tensors of the average \(\d+, first: space\..*remove its folder"),
    ],
)
def test_a_checkpoint_that_lacks_tensors_is_one_line(prefix: str, said: str, small_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError):
        stopped(Run(small_recipe, tmp_path / "run", resume=False, console=QUIET)).train()
    path = checkpoint_folders(tmp_path / "run" / "checkpoints")[-1] / "state.safetensors"
    whole = load_file(str(path))
    for kept, wanted in (
        ({name: tensor for name, tensor in whole.items() if not name.startswith(prefix)}, said),
        (whole | {f"{prefix}null_point": torch.zeros(3)}, "in another shape"),
        (whole | {"model.strange": torch.zeros(3)}, r"has tensors that the model has not \(1, first: strange\)"),
    ):
        save_file(kept, path)
        with pytest.raises(UserError, match=wanted):
            Run(small_recipe, tmp_path / "run", resume=True, console=QUIET)


@pytest.mark.parametrize("content", ["{", "[]", '{"dtype": "float32"}'])
def test_a_damaged_record_of_a_run_is_one_line(content: str, small_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError):
        stopped(Run(small_recipe, tmp_path / "run", resume=False, console=QUIET)).train()
    (tmp_path / "run" / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json is damaged .*initial="):
        Run(small_recipe, tmp_path / "run", resume=True, console=QUIET)


def test_resume_without_a_run_is_an_error(small_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to resume from"):
        Run(small_recipe, tmp_path / "none", resume=True, console=QUIET)
