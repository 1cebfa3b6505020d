import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from test_compare import FACTS
from typer.testing import CliRunner

from tonggan.cli import app
from tonggan.errors import UserError
from tonggan.evaluation.card import Card, Figure
from tonggan.evaluation.tables import cells_of, cells_of_groups, chosen, groups_by_seed, table


def run_of(recipe: str, seed: int, recall: float, **trained: object) -> Card:
    """A card of a model of `recipe`, trained from `seed`."""
    card = TypeAdapter(Card).validate_python(FACTS)
    facts = {"recipe": recipe, "recipe_hash": f"hash of {recipe}", "seed": seed, "samples": 960, "data": "d", "split": "train", "commit": "c"}
    model = replace(card.model, name=f"{recipe}-{seed}", weights_hash=f"{recipe} {seed}", trained=facts | trained)
    figures = (Figure("recall_at_5", recall, recall - 0.1, recall + 0.1, 100), Figure("kernel_distance", 0.02, 0.01, 0.03, 100))
    return replace(card, model=model, figures=figures)


RUNS = [run_of("small", 0, 0.5), run_of("large", 0, 0.7), run_of("small", 1, 0.6, samples=480, commit="e"), run_of("small", 2, 0.7)]


def test_mean_and_deviation_are_over_runs_that_differ_in_seed_alone() -> None:
    groups = groups_by_seed(RUNS)
    assert {name: len(cards) for name, cards in groups.items()} == {"small": 3, "large": 1}
    small, _, large, _ = cells_of_groups(groups)
    assert (small.figure, small.runs, small.samples) == ("recall_at_5", 3, 100)
    assert (small.value, small.deviation) == pytest.approx((0.6, 0.1))
    assert (large.value, large.deviation, large.runs) == (0.7, None, 1)
    lines = table([small, large], "markdown").splitlines()
    assert lines[0] == "|  | R@5 of the own ground truth (%) ↑ |"
    assert lines[2:4] == ["| small | 60.0 ± 10.0 |", "| large | 70.0 |"]
    assert "runs: small 3, large 1; 100 rows each." in lines[5]
    assert list(groups_by_seed([*RUNS, run_of("small", 3, 0.5, data="other")])) == ["small (1)", "large", "small (2)"]


def test_what_is_no_group_of_seeds_is_said() -> None:
    with pytest.raises(UserError, match="no two cards differ in training seed alone"):
        cells_of_groups(groups_by_seed(RUNS[:2]))
    with pytest.raises(UserError, match="two cards of A are of the same weights"):
        cells_of_groups({"A": [RUNS[0], RUNS[0]]})
    with pytest.raises(UserError, match="a card of A differs in split"):
        cells_of_groups({"A": [RUNS[0], replace(RUNS[2], data=replace(RUNS[2].data, split="train"))]})
    with pytest.raises(UserError, match="does not say how it was trained"):
        groups_by_seed([replace(RUNS[0], model=replace(RUNS[0].model, trained={}))])
    with pytest.raises(UserError, match=r"'excel' is no format"):
        table(cells_of(RUNS[:1], ["a"]), "excel")
    with pytest.raises(UserError, match=r"no card has a figure 'recall_at_9'.*'recall_at_5'"):
        chosen(RUNS, ["recall_at_9"])


def test_tables_have_the_figures_that_are_asked_for_in_every_format() -> None:
    cells = cells_of(chosen(RUNS[:2], ["kernel_distance", "recall_at_5"]), ["a_b", "c"])
    assert [cell.figure for cell in cells[:2]] == ["kernel_distance", "recall_at_5"]
    (first, *_) = csv.DictReader(io.StringIO(table(cells, "csv")))
    assert (first["system"], first["figure"], float(first["value"]), first["deviation"]) == ("a_b", "kernel_distance", 0.02, "")
    assert json.loads(table(cells, "json"))[3]["value"] == 0.7
    latex = table(cells, "latex").splitlines()
    assert latex[1:3] == [r"\begin{tabular}{lrr}", r"\toprule"]
    assert latex[3] == r" & kernel distance ($\times 10^{-3}$) $\downarrow$ & R@5 of the own ground truth (\%) $\uparrow$ \\"
    assert latex[5] == r"a\_b & 20.00 [10.00, 30.00] & 50.0 [40.0, 60.0] \\"


def test_groups_can_be_named_on_the_command_line(tmp_path: Path) -> None:
    for number, card in enumerate(RUNS):
        card.save(tmp_path / f"{number}" / "card.json")

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["compare", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    paths = [str(tmp_path / str(number)) for number in range(4)]
    grouped = said(f"A={paths[0]},{paths[2]}", paths[1], "--figures", "recall_at_5")
    assert grouped.splitlines()[2:4] == ["| A | 55.0 ± 7.1 |", "| large-0 | 70.0 |"]
    assert "| small | 60.0 ± 10.0 | 20.00 ± 0.00 |" in said(*paths, "--over-seeds")
    assert "| training seed | 0 | 1 |" in said(paths[0], paths[2])
    assert "the spread of training (other seeds) is not in these intervals" in said(paths[0], paths[2])
    assert said(*paths, "--format", "csv").count("\n") == 9
