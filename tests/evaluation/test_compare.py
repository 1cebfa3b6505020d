from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from tonggan.errors import UserError
from tonggan.evaluation.card import Card, Column, Figure, NetFacts
from tonggan.evaluation.compare import compare

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
    assert compare([one, more]).splitlines()[4] == "| sharpness |  | 0.500 [0.400, 0.600] |"


def test_what_may_not_be_compared_is_said(one: Card) -> None:
    elsewhere = replace(one, data=replace(one.data, split="train"), model=replace(one.model, name="two"))
    assert "two differs in split: not comparable." in compare([one, elsewhere])
    worlds_apart = other(elsewhere, (0.9, 0.85, 0.95), (0.9, 0.8, 1.0))
    lines = compare([one, worlds_apart]).splitlines()
    assert lines[2].rstrip(" |").endswith("95.0]")  # no mark, though the intervals are far apart
    assert "real" not in "".join(lines)
    clips = [replace(one, nets=(NetFacts("clip", sha, 224, 512),)) for sha in ("a", "b")]
    assert "one differs in clip: not comparable." in compare(clips)
    with pytest.raises(UserError, match="two cards or more"):
        compare([one])
    with pytest.raises(UserError, match="different arrows"):
        compare([one, replace(one, arrow="image->text")])
