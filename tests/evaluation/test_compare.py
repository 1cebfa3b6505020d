from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from tonggan.errors import UserError
from tonggan.evaluation.card import Card, Column, Figure, NetFacts
from tonggan.evaluation.compare import compare
from tonggan.pipeline import Tonggan

FACTS: dict[str, Any] = {
    "arrow": "text->image",
    "model": {"name": "one", "weights_hash": "a", "settings": {}},
    "data": {
        "content_hash": "c",
        "split": "test",
        "language": "en",
        "samples": 100,
        "split_rows": 100,
        "rows_hash": "r",
        "picture_size": 64,
    },
    "features": {"name": "net", "sha256": "s", "input_size": 224, "width": 1280},
    "first_seed": 0,
    "figures": [
        {"name": "recall_at_5", "value": 0.5, "low": 0.4, "high": 0.6, "samples": 100},
        {"name": "kernel_distance", "value": 0.02, "low": 0.01, "high": 0.03, "samples": 100},
    ],
    "columns": [],
    "beside": [],
    "groups": [],
    "speed": {"drawing_seconds": 1, "pictures_per_second": 100, "batch_size": 64},
    "machine": {"processor": "p", "threads": 2, "system": "s"},
    "versions": {},
    "date": "2026-11-24",
    "warnings": [],
    "definitions": {},
}


@pytest.fixture
def one() -> Card:
    return TypeAdapter(Card).validate_python(FACTS)


def other(card: Card, recall: tuple[float, float, float], distance: tuple[float, float, float]) -> Card:
    figures = tuple(Figure(name, *values, samples=100) for name, values in (("recall_at_5", recall), ("kernel_distance", distance)))
    return replace(card, figures=figures, model=replace(card.model, name="two"))


def test_differences_beyond_both_intervals_are_marked(one: Card) -> None:
    better = compare([one, other(one, (0.8, 0.7, 0.9), (0.005, 0.001, 0.009))]).splitlines()
    assert "80.0 [70.0, 90.0] +" in better[2]
    assert better[3].rstrip(" |").endswith("5.00 [1.00, 9.00] +")
    worse = compare([one, other(one, (0.1, 0.05, 0.2), (0.5, 0.4, 0.6))]).splitlines()
    assert worse[2].rstrip(" |").endswith("-")
    assert worse[3].rstrip(" |").endswith("-")
    alike = compare([one, other(one, (0.55, 0.45, 0.65), (0.02, 0.01, 0.03))]).splitlines()
    assert alike[2].rstrip(" |").endswith("65.0]")


def test_floors_stand_beside_and_what_is_missing_is_left_empty(one: Card) -> None:
    floor = Column("chance", "", (Figure("recall_at_5", 0.05, None, None, 100),))
    lines = compare([replace(one, columns=(floor,)), one]).splitlines()
    assert lines[0] == "| | one | one | chance |"
    assert lines[2].endswith("| 5.0 |")
    assert lines[3].endswith("|  |")
    more = replace(one, figures=(Figure("sharpness", 0.5, 0.4, 0.6, 100), *one.figures))
    assert compare([one, more]).splitlines()[4] == "| sharpness → ground truths |  | 0.500 [0.400, 0.600] |"


def test_what_may_not_be_compared_is_said(one: Card) -> None:
    elsewhere = replace(one, data=replace(one.data, split="train"), model=replace(one.model, name="two"))
    assert "two differs in split: not comparable." in compare([one, elsewhere])
    worlds_apart = other(elsewhere, (0.9, 0.85, 0.95), (0.9, 0.8, 1.0))
    lines = compare([one, worlds_apart]).splitlines()
    recall = next(line for line in lines if line.startswith("| R@5"))
    assert recall.rstrip(" |").endswith("95.0]")  # no mark, though the intervals are far apart
    assert "real" not in "".join(lines)
    clips = [replace(one, nets=(NetFacts("clip", sha, 224, 512),)) for sha in ("a", "b")]
    assert "one differs in clip: not comparable." in compare(clips)
    with pytest.raises(UserError, match="two cards or more"):
        compare([one])
    with pytest.raises(UserError, match="different arrows"):
        compare([one, replace(one, arrow="image->text")])


def test_what_was_made_differently_stands_above_the_figures(one: Card) -> None:
    assert compare([one, one]).startswith("| | one | one |")
    model = replace(one.model, settings={"num_inference_steps": 4, "guidance_scale": 2.0})
    machine = replace(one.machine, processor="q")
    two = replace(one, model=replace(model, name="two", weights_hash="b"), machine=machine, first_seed=7, data=replace(one.data, samples=90))
    first = replace(one, model=replace(one.model, settings={"num_inference_steps": 2, "guidance_scale": 2.0}), request={"best_of": 1})
    above, _, _ = compare([first, two]).partition("\n\n")
    assert above.splitlines() == [
        "| made differently | one | two |",
        "|---|---|---|",
        "| weights | a | b |",
        "| num_inference_steps | 2 | 4 |",
        "| first seed | 0 | 7 |",
        "| rows | 100 of 100 | 90 of 100 |",
        "| machine | p | q |",
    ]


def test_how_outputs_and_models_were_made_is_told_apart(one: Card) -> None:
    emoji = Tonggan.from_pretrained("emoji-64")
    sides = [{**emoji.settings(), "best_of": each} for each in (1, 4)]
    changed = {"num_inference_steps": 3, "guidance_scale": 1.5, "dtype": "bfloat16", "references": 1, "solver": "another"}
    assert set(changed) <= set(sides[0])
    cards = [replace(one, model=replace(one.model, settings=sides[0], trained={"seed": 0, "data": "a" * 64}))]
    cards.append(replace(one, model=replace(one.model, settings=sides[1] | changed, trained={"seed": 1, "data": "b" * 64})))
    above, _, below = compare(cards).partition("\n\n")
    told = {line.split(" | ")[0].removeprefix("| ") for line in above.splitlines()}
    assert told >= {*changed, "best_of", "training seed", "training data"}
    assert f"| training data | {'a' * 12} | {'b' * 12} |" in above
    assert "Only rows are resampled: the spread of training (other seeds) is not in these intervals." in below


def test_few_rows_decide_nothing(one: Card) -> None:
    few, two = (replace(card, data=replace(card.data, samples=5, split_rows=100)) for card in (one, other(one, (0.9, 0.85, 0.95), (0.5, 0.4, 0.6))))
    text = compare([few, two])
    assert "5 rows of `test` in `en`, 95 % intervals. So few rows decide nothing" in text
    assert "95.0] +" not in text
    assert "real |" not in text
    assert "| 40.0 [28.8, 51.2] |" in text  # how large the difference is, is told all the same
    assert "95.0] +" in compare([one, other(one, (0.9, 0.85, 0.95), (0.5, 0.4, 0.6))])


# The truth is 3, the first card's 2: what is lower, or higher, is no better for that.
@pytest.mark.parametrize(("value", "mark"), [(1.0, " -"), (2.5, " +"), (3.1, " +"), (5.0, " -"), (4.0, " *")])
@pytest.mark.parametrize("paired", [True, False])
def test_what_should_be_as_the_truth_is_compared_by_closeness_to_it(value: float, mark: str, paired: bool, one: Card) -> None:
    truths = Column("the ground truths", "", (Figure("ringing", 3.0, 2.9, 3.1, 100),))
    cards = [
        replace(one, figures=(Figure("ringing", each, each - 0.1, each + 0.1, 100),), columns=(truths,), model=replace(one.model, name=name))
        for name, each in (("one", 2.0), ("two", value))
    ]
    noise = [0.1 * (row % 7) - 0.3 for row in range(98)]
    rows = [[{"figures": {"ringing": each + off}} for off in noise[:: 1 if each == 2.0 else -1]] for each in (2.0, value)]
    line = next(line for line in compare(cards, rows=rows if paired else ()).splitlines() if line.startswith("| ringing"))
    assert line.split(" |")[2].endswith(f"{value + 0.1:.2f}]{mark}")
    assert "→ ground truths" in line
    unknown = compare([replace(card, columns=()) for card in cards], rows=rows if paired else ())
    assert f"{value + 0.1:.2f}] *" in unknown
