"""What all specs share: frozen, complete, strict about types and keys."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Spec(BaseModel):
    """A part of a study file. Unknown keys, strings for numbers, numbers for flags and infinities are errors."""

    described_by: ClassVar[str] = "`neuroiou-study schema`"
    """What tells a person which keys there are; a document of another kind names its own."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def broken(value: object, rule: str, at: tuple[str, ...] = ()) -> PydanticCustomError:
    """What a validator raises: ``value``, under the keys ``at`` of the validated field, breaks *rule: remedy*."""
    return PydanticCustomError("broken", "{rule}", {"at": at, "value": value, "rule": rule})
