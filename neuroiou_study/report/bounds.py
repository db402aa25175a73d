"""A number that is not known but estimated: what is likely, and what it is at most."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """What is ``likely``, and what it is at ``most`` as far as the measurements go."""

    likely: float
    most: float

    def __add__(self, other: "Bounds") -> "Bounds":
        return Bounds(self.likely + other.likely, self.most + other.most)

    def __mul__(self, factor: float) -> "Bounds":
        return Bounds(self.likely * factor, self.most * factor)


NONE, ONCE = Bounds(0.0, 0.0), Bounds(1.0, 1.0)
