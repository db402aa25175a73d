"""What all specs share: frozen, complete, strict about types and keys."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """A part of a study file. Unknown keys, strings for numbers and numbers for flags are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
