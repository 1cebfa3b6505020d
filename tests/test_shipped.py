import itertools
import json
from typing import Any

import numpy as np
import pytest

from tonggan.model_card import model_card
from tonggan.model_folder import load_model, shipped_models
from tonggan.pipeline import Tonggan


@pytest.mark.parametrize("name", shipped_models())
def test_every_encoder_was_taught(name: str) -> None:
    """A convolution that begins as nothing is nothing until it is taught."""
    for key, tensor in load_model(name).model.encoders.state_dict().items():
        assert tensor.ndim < 2 or tensor.abs().sum() > 0, key


@pytest.mark.parametrize("name", shipped_models())
def test_a_model_makes_what_it_makes_as_its_recipe_says(name: str) -> None:
    config = json.loads((shipped_models()[name] / "config.json").read_text(encoding="utf-8"))
    assert _otherwise(config["recipe"]["model"], config["model"]) == []


@pytest.mark.parametrize("name", shipped_models())
def test_a_card_says_what_config_json_knows(name: str) -> None:
    folder = shipped_models()[name]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (folder / "README.md").read_text(encoding="utf-8") == model_card(config)
    assert config["recipe"]["data"]["source"]


def test_a_card_tells_of_earlier_runs_and_of_their_data() -> None:
    config = json.loads((shipped_models()["game-clips"] / "config.json").read_text(encoding="utf-8"))
    card = model_card(config)
    assert "other data of 2,084, 2,084, 2,084, 5,219, 5,346 rows" in card
    assert "| samples seen | 8,000, after 179,904 in the runs that 'game-clips' came from, of all their arrows together (14,400 + " in card
    config["trained"].pop("before")
    assert "| samples seen | 8,000 |" in model_card(config)
    assert "other data" not in model_card(config)


@pytest.mark.parametrize("name", shipped_models())
def test_a_memory_lies_beside_the_words_that_it_knows(name: str) -> None:
    model = Tonggan.from_pretrained(name)
    for memory in model.model.memories.values():
        assert model.words
        assert len(memory.unknown(" ".join(model.words))) < 0.01 * len(model.words)
        assert model.guessed("a red hart")[0].endswith("Did you mean 'heart'?")
        assert "no word" in model.guessed("?!")[0]
        assert model.guessed("\N{LEFT RIGHT ARROW}\N{VARIATION SELECTOR-16}") == []  # it is taken for its name, as are signs that are no letters


@pytest.mark.parametrize(("name", "settings"), [("emoji-64-fast", {"num_inference_steps": 1}), ("emoji-64-gan", {})])
def test_a_walk_has_no_cut_in_it(name: str, settings: dict[str, Any]) -> None:
    ends = "red apple, fluent style", "frog, fluent style"
    walk = np.stack(
        [np.asarray(frame.convert("RGB"), dtype=float) for frame in Tonggan.from_pretrained(name).morph(*ends, frames=9, settings=settings)]
    )

    def apart(first: np.ndarray, second: np.ndarray) -> float:
        return float(((first - second) ** 2).mean() ** 0.5)

    longest = max(apart(*pair) for pair in itertools.pairwise(walk))
    assert longest < apart(walk[0], walk[-1]) / 2


def _otherwise(said: dict[str, Any], used: dict[str, Any]) -> list[str]:
    """Return the settings that a recipe names and a model has otherwise."""
    found = []
    for name, value in said.items():
        other = used.get(name)
        found += _otherwise(value, other) if isinstance(value, dict) and isinstance(other, dict) else [] if value == other else [name]
    return found
