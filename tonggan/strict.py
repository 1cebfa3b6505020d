"""Settings that refuse what they do not know."""

import difflib
import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tonggan.errors import nearest

LARGEST_SEED = 2**63 - 1
"""Largest seed that a command or a recipe takes: outputs count up from it, and PyTorch's generator takes 64 bits."""


class Strict(BaseModel):
    """A settings record: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Say the first mistake of a `ValidationError` in one sentence, with the nearest known key where one is unknown."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1]) or _fields_named(str(first["loc"][-1]))
        return f"unknown key '{key}'.{nearest(str(first['loc'][-1]), known)}"
    if first["type"] == "value_error":
        return f"{key}: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
    if first["type"] == "literal_error":
        known = re.findall(r"'([^']+)'", first["ctx"]["expected"])
        return f"{key} '{first['input']}' is not known.{nearest(str(first['input']), known)}"
    if first["type"] == "missing":
        return f"key '{key}' is missing."
    return f"{key or 'recipe'}: {first['msg']} (got {first['input']!r})." if key else f"{first['msg']}."


def _fields_at(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return list(model.model_fields)


def _fields_named(name: str) -> list[str]:
    every = {field for config in _all_configs(Strict) for field in config.model_fields}
    return difflib.get_close_matches(name, every, n=3)


def _all_configs(config: type[BaseModel]) -> list[type[BaseModel]]:
    return [each for child in config.__subclasses__() for each in [child, *_all_configs(child)]]
