"""A chart that is told before it is drawn, so that the same one goes on a page, into a picture and into a table."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VEGA_LITE = "6.4"
"""The version of the language that :attr:`Chart.drawing` is written in."""
Cell = str | int | float | bool | None
Row = Mapping[str, Cell]


@dataclass(frozen=True)
class Chart:
    """``rows`` all have the same columns; ``drawing`` is Vega-Lite without data, title and description."""

    name: str
    title: str
    says: str
    """What it shows and what to look for, for those too who cannot see it."""
    rows: Sequence[Row]
    drawing: Mapping[str, Any]

    def as_vega_lite(self) -> dict[str, Any]:
        """The whole drawing; what has no value is null."""
        values = [{name: _finite(cell) for name, cell in row.items()} for row in self.rows]
        schema = f"https://vega.github.io/schema/vega-lite/v{VEGA_LITE.partition('.')[0]}.json"
        return {"$schema": schema, "description": self.says, "data": {"values": values}, **self.drawing}

    def as_csv(self) -> str:
        """The rows under the names of their columns; what has no value is empty."""
        out = io.StringIO()
        writer = csv.DictWriter(out, list(self.rows[0]) if self.rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _finite(cell) for name, cell in row.items()} for row in self.rows)
        return out.getvalue()


def as_png(chart: Chart, width: int = 760) -> bytes:
    """``chart`` as a picture, ``width`` pixels wide before it is doubled for dense screens."""
    import vl_convert

    whole = {**chart.as_vega_lite(), "title": chart.title, "background": "white"}
    if whole.get("width") == "container":
        whole["width"] = width
    picture: bytes = vl_convert.vegalite_to_png(whole, vl_version=VEGA_LITE, scale=2)
    return picture


def _finite(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
