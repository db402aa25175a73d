"""Parts that several drawings have: axes, tooltips, and colours that arms and verdicts have everywhere."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Encoding = dict[str, Any]
WIDE: Mapping[str, Any] = {"width": "container"}
VERDICTS = {"better": "#1b7f4d", "no difference": "#7a7f87", "worse": "#b3261e", "not measured": "#c4c7cc"}
_ARMS = (
    *("#1f6fb4", "#8c8c8c", "#b35c00", "#59a14f", "#8e6bbf"),
    *("#d1495b", "#3a9c96", "#a07f2c", "#c2639b", "#5b6770"),
)


def number(field: str, title: str, *, form: str = ".3f", zero: bool = False) -> Encoding:
    """A quantity on an axis, which begins at 0 only where lengths are compared."""
    axis: Encoding = {"format": form, "tickCount": 6, "labelOverlap": "greedy"}
    axis |= {"tickMinStep": 1} if form == "d" else {}
    scale = {"zero": zero, "nice": True}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": axis}


def name(field: str, order: Sequence[str] | None = None) -> Encoding:
    """Names down an axis, in ``order``, and never cut off."""
    axis = {"labelLimit": 260, "title": None}
    return {"field": field, "type": "nominal", "axis": axis, "sort": None if order is None else list(order)}


def arm_colour(arms: Sequence[str], name: str) -> str:
    """The colour of the arm ``name``, as ``#rrggbb``; another for each of ten arms."""
    return _ARMS[list(arms).index(name) % len(_ARMS)]


def arm(arms: Sequence[str]) -> Encoding:
    """The colour of an arm: that of its place in the study."""
    colours = [arm_colour(arms, each) for each in arms]
    legend = {"title": None, "orient": "top", "columns": 4}
    return {"field": "arm", "type": "nominal", "scale": {"domain": list(arms), "range": colours}, "legend": legend}


def verdict() -> Encoding:
    """The colour of a verdict."""
    scale = {"domain": list(VERDICTS), "range": list(VERDICTS.values())}
    return {
        "field": "verdict",
        "type": "nominal",
        "scale": scale,
        "legend": {"title": None, "orient": "top", "columns": 2},
    }


def tooltip(*fields: str) -> list[Encoding]:
    """What is said of the mark that is pointed at."""
    return [{"field": field} for field in fields]


def tall(names: Iterable[object], step: int) -> int:
    """The height, in pixels, of an axis on which each of ``names`` has ``step``.

    Vega-Lite could count them, but warns of it where the width is that of the page.
    """
    return max(1, len(set(names))) * step
