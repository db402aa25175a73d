"""What a search may vary: an ``int``, ``float`` or ``choice`` range under a trial's dotted name."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from neuroiou_study.spec.base import Spec

Scalar = bool | int | float | str


class IntRange(Spec):
    """``{int: [low, high]}``, both ends included; ``log: true`` spreads evenly over factors."""

    int: Annotated[tuple[int, int], Field(strict=False)]
    log: bool = False

    @property
    def corners(self) -> tuple[Scalar, ...]:
        return self.int

    @model_validator(mode="after")
    def _ordered(self) -> "IntRange":
        _require_order(*self.int, self.log)
        return self


class FloatRange(Spec):
    """``{float: [low, high]}``; ``log: true`` spreads evenly over factors."""

    float: Annotated[tuple[float, float], Field(strict=False)]
    log: bool = False

    @property
    def corners(self) -> tuple[Scalar, ...]:
        return self.float

    @model_validator(mode="after")
    def _ordered(self) -> "FloatRange":
        _require_order(*self.float, self.log)
        return self


class ChoiceRange(Spec):
    """``{choice: [a, b, …]}``: one of the values, without an order."""

    choice: Annotated[tuple[Scalar, ...], Field(strict=False, min_length=2)]

    @property
    def corners(self) -> tuple[Scalar, ...]:
        return self.choice

    @model_validator(mode="after")
    def _distinct(self) -> "ChoiceRange":
        if len(set(map(repr, self.choice))) < len(self.choice):
            raise ValueError("each value may stand once in a choice: remove the repeated one")
        return self


def _require_order(low: float, high: float, log: bool) -> None:
    if not low < high:
        raise ValueError(f"the low end {low} must be below the high end {high}: swap or widen them")
    if log and low <= 0:
        raise ValueError(f"a log range must begin above 0, not at {low}: raise the low end or drop log")


def _kind(value: Any) -> str | None:
    """Which range a value is meant to be: by its key, so that an error speaks of that range only."""
    keys = set(value) if isinstance(value, dict) else set(type(value).model_fields)
    return next((kind for kind in ("int", "float", "choice") if kind in keys), None)


Range = Annotated[
    Annotated[IntRange, Tag("int")] | Annotated[FloatRange, Tag("float")] | Annotated[ChoiceRange, Tag("choice")],
    Discriminator(
        _kind,
        custom_error_type="range",
        custom_error_message="must be {int: [low, high]}, {float: [low, high]} or {choice: [a, b]}",
    ),
]
