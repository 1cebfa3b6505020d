import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tonggan.errors import UserError
from tonggan.evaluation.watching import Watch
from tonggan.latent.memory import Memory
from tonggan.pipeline import Tonggan
from tonggan.training.checkpoint import checkpoint_folders
from tonggan.training.preflight import overfit
from tonggan.training.recipe import Recipe, load_recipe, parse_recipe, set_dotted
from tonggan.training.run import InterruptedRunError, Run

QUIET = Console(quiet=True)


def changed(recipe: Recipe, **changes: object) -> Recipe:
    settings = recipe.model_dump(mode="json")
    for key, value in changes.items():
        set_dotted(settings, key.replace("__", "."), value)
    return parse_recipe(settings, where="test")


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["kind"] == kind]


def state(run: Path) -> dict[str, torch.Tensor]:
    return load_file(str(checkpoint_folders(run / "checkpoints")[-1] / "state.safetensors"))


def test_watching_changes_nothing_and_a_resumed_run_watches_the_same(small_recipe: Recipe, tmp_path: Path) -> None:
    watched = changed(small_recipe, monitor__evaluate_every=2, monitor__evaluate_rows=4, monitor__best_by="kernel_distance")
    Run(small_recipe, tmp_path / "plain", resume=False, console=QUIET).train()
    Run(watched, tmp_path / "straight", resume=False, console=QUIET, judging=Watch).train()
    stopped = Run(watched, tmp_path / "stopped", resume=False, console=QUIET, judging=Watch)
    advance: Callable[..., Any] = stopped.learner.advance

    def until_three(loader: Any) -> Any:
        report = advance(loader)
        stopped.stop_asked = stopped.learner.step == 3
        return report

    object.__setattr__(stopped.learner, "advance", until_three)
    with pytest.raises(InterruptedRunError):
        stopped.train()
    Run(watched, tmp_path / "stopped", resume=True, console=QUIET, judging=Watch).train()
    plain, straight, resumed = (state(tmp_path / name) for name in ("plain", "straight", "stopped"))
    assert [name for name in plain if not torch.equal(plain[name], straight[name])] == []
    assert [name for name in straight if not torch.equal(straight[name], resumed[name])] == []
    found = events(tmp_path / "straight", "evaluate")
    assert found == events(tmp_path / "stopped", "evaluate")
    assert [event["step"] for event in found] == [2, 4, 6, 8]
    assert set(found[0]) == {"step", "kind", "kernel_distance"}  # R@5 of so few rows would be 1 whatever is drawn
    best = Tonggan.from_pretrained(tmp_path / "straight").config["trained"]
    assert best["best"]["kernel_distance"] == pytest.approx(min(event["kernel_distance"] for event in found), abs=1e-5)
    assert best["held_out_loss"] > 0


def test_what_is_not_measured_chooses_no_checkpoint(small_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"best_by: 'recall_at_5' is not measured.*Set monitor\.evaluate_every"):
        Run(changed(small_recipe, monitor__best_by="recall_at_5"), tmp_path / "a", resume=False, console=QUIET)
    every = changed(small_recipe, monitor__best_by="kernel_distanze", monitor__evaluate_every=4)
    with pytest.raises(UserError, match=r"Did you mean 'kernel_distance'"):
        Run(every, tmp_path / "b", resume=False, console=QUIET, judging=Watch)
    few = changed(small_recipe, monitor__best_by="recall_at_5", monitor__evaluate_every=4)
    with pytest.raises(UserError, match=r"recall_at_5 of \d rows is always 1"):
        Run(few, tmp_path / "b", resume=False, console=QUIET, judging=Watch)
    assert not (tmp_path / "b" / "run.json").exists()


def test_enough_rows_are_ranked(small_recipe: Recipe, tmp_path: Path) -> None:
    run = Run(
        changed(small_recipe, data__hold_out=0.6, monitor__best_by="recall_at_5", monitor__evaluate_every=4),
        tmp_path / "run",
        resume=False,
        console=QUIET,
        judging=Watch,
    )
    assert run.judge is not None
    assert run.judge.higher == {"kernel_distance": False, "recall_at_5": True}
    figures = run.judge(run.model.eval())
    assert set(figures) == {"kernel_distance", "recall_at_5"}
    assert 0 <= figures["recall_at_5"] <= 1


def test_each_arrow_has_its_figures(describer: Tonggan, sounder: Tonggan, tmp_path: Path) -> None:
    told = changed(describer.recipe, schedule__samples=describer.recipe.schedule.batch_size, monitor__evaluate_every=1)
    Run(told, tmp_path / "told", resume=False, console=QUIET, judging=Watch).train()
    (event,) = events(tmp_path / "told", "evaluate")
    assert 0 <= event["exact"] <= 1
    heard = changed(sounder.recipe, schedule__samples=sounder.recipe.schedule.batch_size, monitor__evaluate_every=1, monitor__best_by="onset_f1")
    Run(heard, tmp_path / "heard", resume=False, console=QUIET, judging=Watch).train()
    (event,) = events(tmp_path / "heard", "evaluate")
    assert 0 <= event["onset_f1"] <= 1
    assert load_recipe("emoji-64").monitor.evaluate_every == 0


def test_a_row_that_is_learned_from_never_finds_itself_where_it_is_looked_at(
    small_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, find = list[tuple[int | None, list[str]]](), Memory.find

    def told(self: Memory, text: str, *, excluded: int | None = None) -> list[int]:
        places = find(self, text, excluded=excluded)
        found.append((excluded, [self.names[place] for place in places]))
        return places

    recipe = changed(small_recipe, data__hold_out=0.0, monitor__evaluate_every=4, monitor__evaluate_rows=4)
    run = Run(recipe, tmp_path / "run", resume=False, console=QUIET, cache=tmp_path, judging=Watch)
    judge = run.judge
    assert judge is not None
    monkeypatch.setattr(Memory, "find", told)
    looks = (
        run._preview,
        lambda: run._evaluate(judge),
        lambda: overfit(recipe, count=4, out=tmp_path / "out", cache=tmp_path, console=QUIET, max_steps=1),
    )
    for look in looks:
        found.clear()
        look()
        assert any(names for _, names in found)
        assert all(row is not None and run.data.pack.row(row).file_name not in names for row, names in found)


def test_an_arrow_that_is_not_trained_is_neither_shown_nor_measured(small_recipe: Recipe, tmp_path: Path) -> None:
    said = {"kind": "text_autoregressive", "latent_width": 320, "width": 32, "layers": 1, "heads": 2, "vocabulary": 300, "languages": ["en"]}
    recipe = changed(
        small_recipe,
        model__decoders__text=said,
        objectives__arrows={"text->image": 1.0, "image->text": 0.0},
        monitor__evaluate_every=4,
        monitor__evaluate_rows=4,
    )
    run = Run(recipe, tmp_path / "run", resume=False, console=QUIET, judging=Watch)
    run._preview()
    assert [path.name.partition("-0")[0] for path in (tmp_path / "run" / "samples").iterdir()] == ["text-to-image"]
    assert run.judge is not None
    assert set(run.judge.higher) == {"kernel_distance"}
    with pytest.raises(UserError, match="no arrow is trained, so there is nothing to learn by heart"):
        overfit(changed(recipe, objectives__arrows={"text->image": 0.0}), count=2, out=tmp_path, cache=tmp_path, console=QUIET)
