"""How good each arm is on the split that decides: of each seed, and in each class."""

from collections.abc import Mapping, Sequence

from neuroiou_study.report.charts import axes
from neuroiou_study.report.charts.chart import Chart
from neuroiou_study.report.leaderboard import ArmRow
from neuroiou_study.report.val_scores import ArmScores


def seeds_chart(rows: Sequence[ArmRow], arms: Sequence[str]) -> Chart:
    """Mean IoU on ``val`` of each seed, and the mean over them."""
    known = [row for row in rows if row.trial and row.val_miou_per_seed]
    data = [
        {"trial": row.trial, "arm": row.arm, "val_miou": value, "mean": row.val_miou}
        for row in known
        for value in row.val_miou_per_seed
    ]
    shared: axes.Encoding = {"y": axes.name("trial"), "color": axes.arm(arms)}
    shared |= {"tooltip": axes.tooltip("trial", "val_miou", "mean")}
    x = axes.number("val_miou", "mean IoU on val")
    seed = {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.7}, "encoding": {**shared, "x": x}}
    mean = {"mark": {"type": "tick", "thickness": 3}, "encoding": {**shared, "x": {**x, "field": "mean"}}}
    says = "A dot for each training run with its own seed, a bar for their mean. Arms whose dots mix are hard to tell."
    drawing = {**axes.WIDE, "height": axes.tall((row["trial"] for row in data), 28), "layer": [seed, mean]}
    return Chart("seeds", "Mean IoU on val, seed by seed", says, data, drawing)


def classes_chart(scores: Mapping[str, ArmScores], arms: Sequence[str]) -> Chart:
    """IoU of each class on ``val`` (paper figs. 3 and 4)."""
    data = [
        {"class": name, "arm": arm, "iou_percent": value}
        for arm in arms
        if arm in scores
        for name, value in scores[arm].per_class.items()
    ]
    encoding = {
        "y": axes.name("class"),
        "yOffset": {"field": "arm", "type": "nominal", "sort": list(arms)},
        "x": axes.number("iou_percent", "IoU on val in %", form=".0f", zero=True),
        "color": axes.arm(arms),
        "tooltip": axes.tooltip("class", "arm", "iou_percent"),
    }
    says = "IoU of each class, mean over seeds, a bar for each arm. A missing bar: no image has the class."
    height = axes.tall((row["class"] for row in data), 9 * len({row["arm"] for row in data}) + 10)
    drawing = {**axes.WIDE, "height": height, "mark": {"type": "bar"}, "encoding": encoding}
    return Chart("classes", "IoU by class", says, data, drawing)
