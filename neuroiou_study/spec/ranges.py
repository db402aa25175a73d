"""What a search may vary: an ``int``, ``float`` or ``choice`` range under a trial's dotted name."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from neuroiou_study.spec.base import Spec, broken

Scalar = bool | int | float | str


class IntRange(Spec):
    """``{int: [low, high]}``, both ends included; ``log: true`` spreads evenly over factors."""

    int: Annotated[tuple[int, int], Field(strict=False)]
    """Lowest and highest value."""
    log: bool = False
    """Whether the search takes as much interest in 1 to 10 as in 10 to 100."""

    @property
    def corners(self) -> tuple[Scalar, ...]:
        """The ends, and the number after the low one: a field may allow multiples only."""
        low, high = self.int
        return (low, high) if low + 1 == high else (low, low + 1, high)

    def contains(self, value: Scalar) -> bool:
        low, high = self.int
        return not isinstance(value, str) and low <= value <= high

    @model_validator(mode="after")
    def _ordered(self) -> "IntRange":
        _require_order("int", *self.int, self.log)
        return self


class FloatRange(Spec):
    """``{float: [low, high]}``; ``log: true`` spreads evenly over factors."""

    float: Annotated[tuple[float, float], Field(strict=False)]
    """Lowest and highest value."""
    log: bool = False
    """Whether the search takes as much interest in 1 to 10 as in 10 to 100."""

    @property
    def corners(self) -> tuple[Scalar, ...]:
        """The ends."""
        return self.float

    def contains(self, value: Scalar) -> bool:
        low, high = self.float
        return not isinstance(value, str) and low <= value <= high

    @model_validator(mode="after")
    def _ordered(self) -> "FloatRange":
        _require_order("float", *self.float, self.log)
        return self


class ChoiceRange(Spec):
    """``{choice: [a, b, …]}``: one of the values, without an order."""

    choice: Annotated[tuple[Scalar, ...], Field(strict=False, min_length=2)]
    """The values."""

    @property
    def corners(self) -> tuple[Scalar, ...]:
        """Every value."""
        return self.choice

    def contains(self, value: Scalar) -> bool:
        return value in self.choice

    @model_validator(mode="after")
    def _distinct(self) -> "ChoiceRange":
        if len(set(map(repr, self.choice))) < len(self.choice):
            raise broken(list(self.choice), "each value may stand once: remove the repeated one", ("choice",))
        return self


def _require_order(kind: str, low: float, high: float, log: bool) -> None:
    if not low < high:
        raise broken([low, high], "the low end must be below the high end: swap or widen them", (kind,))
    if log and low <= 0:
        raise broken([low, high], "a log range must begin above 0: raise the low end or drop log", (kind,))


def _kind(value: Any) -> str | None:
    """Which range a value is meant to be: by its key, so that an error speaks of that range only."""
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return next((f"{kind} range" for kind in ("int", "float", "choice") if kind in keys), None)


Range = Annotated[
    Annotated[IntRange, Tag("int range")]
    | Annotated[FloatRange, Tag("float range")]
    | Annotated[ChoiceRange, Tag("choice range")],
    Discriminator(
        _kind,
        custom_error_type="range",
        custom_error_message="must be {int: [low, high]}, {float: [low, high]} or {choice: [a, b]}",
    ),
]
