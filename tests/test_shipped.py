import json
from typing import Any

import pytest

from tonggan.model_folder import load_model, shipped_models


@pytest.mark.parametrize("name", shipped_models())
def test_every_encoder_was_taught(name: str) -> None:
    """A convolution that begins as nothing is nothing until it is taught."""
    for key, tensor in load_model(name).model.encoders.state_dict().items():
        assert tensor.ndim < 2 or tensor.abs().sum() > 0, key


@pytest.mark.parametrize("name", shipped_models())
def test_a_model_makes_what_it_makes_as_its_recipe_says(name: str) -> None:
    config = json.loads((shipped_models()[name] / "config.json").read_text(encoding="utf-8"))
    assert _otherwise(config["recipe"]["model"], config["model"]) == []


def _otherwise(said: dict[str, Any], used: dict[str, Any]) -> list[str]:
    """Return the settings that a recipe names and a model has otherwise."""
    found = []
    for name, value in said.items():
        other = used.get(name)
        found += _otherwise(value, other) if isinstance(value, dict) and isinstance(other, dict) else [] if value == other else [name]
    return found
