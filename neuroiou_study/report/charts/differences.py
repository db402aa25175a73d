"""Is the learned loss better, by how much, and how sure is that: differences with their intervals."""

from collections.abc import Sequence
from math import isnan

from neuroiou_study.report.charts import axes
from neuroiou_study.report.charts.chart import Chart, Row
from neuroiou_study.report.leaderboard import ArmRow, Leaderboard
from neuroiou_study.report.verdict import MEANS, Comparison

_LEGEND = "A bar across the line at 0 may be chance; colours are verdicts after Holm's correction."


def differences_chart(board: Leaderboard, learned: Sequence[ArmRow]) -> Chart:
    """Each learned trial against each control, in mean IoU on ``val``."""
    rows = [
        _row(f"{row.trial} − {each.control}", each)
        for row in learned
        for each in row.comparisons
        if each.measure == "miou"
    ]
    says = f"Difference in mean IoU on val to each control, with its {board.confidence:.0%} interval. {_LEGEND}"
    return _chart("differences", "How much better than the controls", says, rows)


def classes_difference_chart(board: Leaderboard, row: ArmRow) -> Chart:
    """What ``row`` gained and lost in each class against cross-entropy, or the first control where there is none."""
    control = board.ce_control or row.comparisons[0].control
    rows = [
        _row(each.measure, each)
        for each in row.comparisons
        if each.control == control and each.measure not in MEANS and not isnan(each.value)
    ]
    rows.sort(key=lambda each: -float(each["difference"] or 0))
    says = f"IoU of {row.trial} on val minus that of {control}, by class, the greatest gain first. {_LEGEND}"
    return _chart("gained_and_lost", f"Gained and lost against {control}", says, rows)


def _row(what: str, each: Comparison) -> Row:
    verdict = "not measured" if isnan(each.value) else each.verdict
    numbers = {"difference": each.value, "low": each.low, "high": each.high, "p_holm": each.p_holm}
    return {"comparison": what, **numbers, "verdict": verdict}


def _chart(name: str, title: str, says: str, rows: Sequence[Row]) -> Chart:
    x = axes.number("low", "difference in IoU", form="+.3f")
    interval = {"mark": {"type": "rule", "strokeWidth": 3}, "encoding": {"x": x, "x2": {"field": "high"}}}
    value = {"mark": {"type": "point", "filled": True, "size": 110}, "encoding": {"x": {**x, "field": "difference"}}}
    zero = {"mark": {"type": "rule", "strokeDash": [4, 4], "aria": False}, "encoding": {"x": {"datum": 0}}}
    shared = {
        "y": axes.name("comparison"),
        "color": axes.verdict(),
        "tooltip": axes.tooltip("comparison", "difference", "low", "high", "p_holm", "verdict"),
    }
    marks = [{**mark, "encoding": {**shared, **mark["encoding"]}} for mark in (interval, value)]  # type: ignore[dict-item]
    height = axes.tall((row["comparison"] for row in rows), 30)
    return Chart(name, title, says, rows, {**axes.WIDE, "height": height, "layer": [zero, *marks]})
