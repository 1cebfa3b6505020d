"""Settings that refuse what they do not know."""

from pydantic import BaseModel, ConfigDict

LARGEST_SEED = 2**63 - 1
"""Largest seed that a command or a recipe takes: outputs count up from it, and PyTorch's generator takes 64 bits."""


class Strict(BaseModel):
    """A settings record: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())
