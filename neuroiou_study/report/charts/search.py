"""How the search went: scores as they came, what was tried with what result, and how the best trials learned."""

from collections.abc import Iterator, Mapping, Sequence
from math import isnan, log10

from neuroiou_study.report.charts import axes
from neuroiou_study.report.charts.chart import Cell, Chart, Row
from neuroiou_study.report.leaderboard import ArmRow
from neuroiou_study.spec import Scalar
from neuroiou_study.stages.records import TrialRecord

_SCORE = "mean IoU on select"


def history_chart(records: Sequence[TrialRecord], arms: Sequence[str]) -> Chart | None:
    """The score of every trial in the order in which they were drawn, and the best until then; None without a score."""
    data = [row for arm in arms for row in _history(records, arm)]
    if all(row["score"] is None for row in data):
        return None
    shared = {
        "x": axes.number("number", "trial of its arm", form="d"),
        "color": axes.arm(arms),
        "tooltip": axes.tooltip("trial", "state", "score", "best"),
    }
    shape = {"field": "state", "type": "nominal", "legend": {"title": None, "orient": "bottom"}}
    trial = {"mark": {"type": "point", "size": 60}, "encoding": {**shared, "y": axes.number("score", _SCORE)}}
    trial["encoding"] |= {"shape": shape}  # type: ignore[operator]
    line = {"type": "line", "interpolate": "step-after", "strokeWidth": 2}
    best = {"mark": line, "encoding": {**shared, "y": axes.number("best", _SCORE)}}
    says = (
        "A mark for each trial, a line for the best complete one so far. A line that still climbs asks for more trials."
    )
    drawing = {**axes.WIDE, "height": 300, "layer": [best, trial]}
    return Chart("history", "The search, trial by trial", says, data, drawing)


def _history(records: Sequence[TrialRecord], arm: str) -> Iterator[Row]:
    best: float | None = None
    for record in sorted(records, key=lambda each: each.assignment.number):
        if record.assignment.arm == arm:
            score = None if record.score is None or isnan(record.score) else record.score
            if score is not None and record.state == "complete":
                best = score if best is None else max(best, score)
            about: dict[str, Cell] = {"trial": record.assignment.name, "arm": arm, "number": record.assignment.number}
            yield {**about, "state": record.state, "score": score, "best": best}


def curves_chart(
    rows: Sequence[ArmRow], records: Sequence[TrialRecord], arms: Sequence[str], start: float | None
) -> Chart:
    """Mean IoU on ``select`` after each epoch of fine-tuning, of the best trial of each arm; epoch 0 is the start."""
    by_name = {record.assignment.name: record for record in records}
    data = [
        {"arm": row.arm, "trial": row.trial, "epoch": epoch, "select_miou": score}
        for row in {row.arm: row for row in reversed(rows) if row.trial in by_name}.values()
        for epoch, score in _curve(by_name[row.trial or ""], start)
    ]
    encoding = {
        "x": axes.number("epoch", "epoch of fine-tuning", form="d"),
        "y": axes.number("select_miou", _SCORE),
        "color": axes.arm(arms),
        "tooltip": axes.tooltip("trial", "epoch", "select_miou"),
    }
    says = "How the best trial of each arm learned, from one pretrained network. One that falls harms."
    mark = {"type": "line", "point": True}
    return Chart(
        "curves",
        "Fine-tuning, epoch by epoch",
        says,
        data,
        {**axes.WIDE, "height": 280, "mark": mark, "encoding": encoding},
    )


def _curve(record: TrialRecord, start: float | None) -> Iterator[tuple[int, float]]:
    """Of the first seed."""
    if start is not None:
        yield 0, start
    for row in record.runs[0].history if record.runs else ():
        yield int(row["epoch"]), row["select_miou"]


def parallel_chart(records: Sequence[TrialRecord], arm: str) -> Chart | None:
    """What ``arm`` tried and what came of it, as parallel coordinates; None with fewer than two trials or ranges."""
    counted = [each for each in records if each.assignment.arm == arm and each.score is not None]
    if len(counted) < 2 or len(counted[0].assignment.values) < 2:
        return None
    names = list(counted[0].assignment.values)
    columns = {name: [each.assignment.values.get(name) for each in counted] for name in names}
    places = {name: _places(values) for name, values in columns.items()}
    data: list[Row] = [
        {"trial": each.assignment.name, "score": each.score, "parameter": name, "value": str(columns[name][i])}
        | {"place": places[name][i]}
        for i, each in enumerate(counted)
        for name in names
    ]
    axis = {"labelAngle": -25, "labelLimit": 180, "title": None, "grid": True}
    colour = {"field": "score", "type": "quantitative", "title": _SCORE, "scale": {"scheme": "viridis"}}
    encoding = {
        "x": {"field": "parameter", "type": "nominal", "sort": names, "axis": axis},
        "y": {
            "field": "place",
            "type": "quantitative",
            "axis": {"title": "low → high", "labels": False, "ticks": False},
        },
        "detail": {"field": "trial"},
        "color": {**colour, "legend": {"orient": "top", "gradientLength": 160}},
        "tooltip": axes.tooltip("trial", "score", "parameter", "value"),
    }
    says = (
        "A line for each trial across what was searched, coloured by its score. Where good ones meet is where to look."
    )
    mark = {"type": "line", "point": True, "opacity": 0.75}
    drawing = {**axes.WIDE, "height": 280, "mark": mark, "encoding": encoding}
    return Chart(f"parallel_{arm}", f"What {arm} tried", says, data, drawing)


def _places(values: Sequence[Scalar | None]) -> list[float]:
    """Where each value is on its axis, from 0 to 1: positive numbers over two decades by their logarithm."""
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        order = sorted({str(value) for value in values})
        return [order.index(str(value)) / max(1, len(order) - 1) for value in values]
    low, high = min(numbers), max(numbers)
    if low > 0 and high / low > 20:
        numbers, low, high = [log10(value) for value in numbers], log10(low), log10(high)
    return [(value - low) / (high - low) if high > low else 0.5 for value in numbers]


def importance_chart(importances: Mapping[str, Mapping[str, float]], arms: Sequence[str]) -> Chart:
    """Arm → searched name → share of the scores' variance that it explains."""
    data: list[Row] = [
        {"parameter": name, "arm": arm, "share": value}
        for arm in importances
        for name, value in importances[arm].items()
    ]
    encoding = {
        "y": axes.name("parameter"),
        "yOffset": {"field": "arm", "type": "nominal", "sort": list(arms)},
        "x": axes.number("share", "share of the variance of scores", form=".0%", zero=True),
        "color": axes.arm(arms),
        "tooltip": axes.tooltip("parameter", "arm", "share"),
    }
    says = (
        "How much of the differences between an arm's trials each searched value explains (fANOVA). A hint, not a test."
    )
    height = axes.tall((row["parameter"] for row in data), 9 * len(importances) + 12)
    drawing = {**axes.WIDE, "height": height, "mark": {"type": "bar"}, "encoding": encoding}
    return Chart("importance", "What mattered", says, data, drawing)
