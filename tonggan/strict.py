"""Settings that refuse what they do not know."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A settings record: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())
