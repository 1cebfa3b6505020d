"""Settings that refuse what they do not know."""

import difflib
import re
from collections.abc import Sequence
from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tonggan.errors import nearest

LARGEST_SEED = 2**63 - 1
"""Largest seed that a command or a recipe takes: outputs count up from it, and PyTorch's generator takes 64 bits."""

Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

ABBREVIATIONS = {"lr": "learning_rate", "bs": "batch_size", "wd": "weight_decay", "ema": "ema_decay"}
"""What others call a setting -> its name here."""


class Strict(BaseModel):
    """A settings record: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Say the first mistake of a `ValidationError` in one sentence, with the nearest known key where one is unknown."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *above, name = map(str, first["loc"])
        return f"unknown key '{key}'.{_meant(ABBREVIATIONS.get(name, name), model, above)}"
    if first["type"] == "value_error":
        said = str(first["ctx"]["error"])
        return f"{key}: {said}" if key and not said.startswith(key) else said
    if first["type"] == "literal_error":
        known = re.findall(r"'([^']+)'", first["ctx"]["expected"])
        return f"{key} '{first['input']}' is not known.{nearest(str(first['input']), known)}"
    if first["type"] in ("tuple_type", "list_type") and isinstance(first["input"], (str, int, float)):
        return f"{key} is a list: write {key}=[{first['input']}]."
    if first["type"] == "missing":
        return f"key '{key}' is missing."
    return f"{key or 'recipe'}: {first['msg']} (got {first['input']!r})." if key else f"{first['msg']}."


def _meant(name: str, model: type[BaseModel], above: Sequence[str]) -> str:
    """Return what `nearest` says of a key among those at its place; where none there is like it, the one elsewhere that is."""
    known = _fields_at(model, above)
    paths = {path: path.rpartition(".")[2] for path in _paths(model)}
    elsewhere = [path for path, last in paths.items() if last == name] or [
        path for path, last in paths.items() if difflib.get_close_matches(name, [last], cutoff=0.8)
    ]
    if elsewhere and not difflib.get_close_matches(name, known):
        return f" Did you mean {' or '.join(repr(each) for each in elsewhere)}?"
    return nearest(name, known)


def _fields_at(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Return the keys of the section at `location`."""
    for part in location:
        within = _section(model, part)
        if within is None:
            return []
        model = within
    return list(model.model_fields)


def _section(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the settings record that a field holds, or may hold; None where it holds a value."""
    field = model.model_fields.get(name)
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return all keys of a settings record and of the sections in it, dotted."""
    paths = []
    for name in model.model_fields:
        within = _section(model, name)
        paths += [prefix + name] if within is None else _paths(within, f"{prefix}{name}.")
    return paths
