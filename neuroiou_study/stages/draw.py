"""Which surrogates a screening fits: drawn from an arm's ranges, the same in every run of a study."""

import math
from collections.abc import Mapping
from random import Random
from typing import Any, assert_never

from neuroiou_study.spec import ChoiceRange, FloatRange, IntRange, Range, Scalar, StudySpec

ATTEMPTS = 50
"""Draws for each surrogate that is wanted; ranges that hold few have then been seen through. *Assumed*."""
Values = dict[str, Scalar]


def draw_surrogates(study: StudySpec, arm: str) -> list[Values]:
    """Different values of the arm's ranges below ``fit_surrogate``: the file's own, if they hold them, then drawn ones.

    As many as ``screen`` wants, or fewer where the ranges hold fewer. More of them begin with the same ones.
    """
    assert study.screen is not None
    ranges = surrogate_ranges(study, arm)
    random = Random(f"{study.search_seed} {arm}")  # noqa: S311  a sampler, no secret
    found = [own_values(study, arm, ranges)]
    if not all(bounds.contains(found[0][name]) for name, bounds in ranges.items()):
        found = []
    for _ in range(ATTEMPTS * study.screen.surrogates):
        if len(found) == study.screen.surrogates:
            break
        values = {name: _drawn(bounds, random) for name, bounds in ranges.items()}
        if values not in found:
            found.append(values)
    return found


def surrogate_ranges(study: StudySpec, arm: str) -> dict[str, Range]:
    """The arm's ranges below ``fit_surrogate``."""
    return {name: bounds for name, bounds in study.ranges(arm).items() if name.startswith("fit_surrogate.")}


def own_values(study: StudySpec, arm: str, ranges: Mapping[str, Range]) -> Values:
    """What the study file says where ``ranges`` vary it."""
    document = study.sample({}, arm=arm).model_dump()
    return {name: _value_at(document, name) for name in ranges}


def _value_at(document: dict[str, Any], name: str) -> Scalar:
    value: Any = document
    for part in name.split("."):
        value = value[part]
    assert isinstance(value, bool | int | float | str)
    return value


def _drawn(bounds: Range, random: Random) -> Scalar:
    match bounds:
        case IntRange(int=(low, high)):
            return random.randint(low, high) if not bounds.log else _log_int(low, high, random)
        case FloatRange(float=(low, high)):
            return random.uniform(low, high) if not bounds.log else _log_uniform(low, high, random)
        case ChoiceRange():
            return random.choice(bounds.choice)
        case _:
            assert_never(bounds)


def _log_int(low: int, high: int, random: Random) -> int:
    # Each whole number has the share of the log axis that rounds to it.
    return min(max(round(_log_uniform(low - 0.5, high + 0.5, random)), low), high)


def _log_uniform(low: float, high: float, random: Random) -> float:
    return min(max(math.exp(random.uniform(math.log(low), math.log(high))), low), high)
