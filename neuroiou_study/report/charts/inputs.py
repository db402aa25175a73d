"""What the surrogate saw and what came of it: three inputs, six, hinges (paper fig. 6)."""

from collections.abc import Iterator, Sequence
from math import isnan

from neuroiou_study.report.charts import axes
from neuroiou_study.report.charts.chart import Chart, Row
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.records import TrialRecord


def inputs_chart(study: StudySpec, records: Sequence[TrialRecord]) -> Chart | None:
    """The scores of complete trials by input set, cross-entropy beside them; None if only one set was tried."""
    data = sorted(_rows(study, records), key=lambda row: str(row["inputs"]))
    if len({row["inputs"] for row in data if row["arm"] in study.learned_arms}) < 2:
        return None
    order = list(dict.fromkeys(str(row["inputs"]) for row in data))
    shared: axes.Encoding = {"y": axes.name("inputs", order)}
    x = axes.number("score", "mean IoU on select")
    tip = axes.tooltip("trial", "inputs", "score")
    mark = {"type": "point", "filled": True, "size": 60, "opacity": 0.7}
    trial = {"mark": mark, "encoding": {**shared, "x": x, "color": axes.arm(study.arms), "tooltip": tip}}
    most = {"mark": {"type": "tick", "thickness": 3}, "encoding": {**shared, "x": {**x, "aggregate": "max"}}}
    says = (
        "A dot for each complete trial, a bar for the best of each input set. Sets with more trials have more chances; "
        "arms that differ in their inputs alone (`variants`) compare them fairly."
    )
    drawing = {**axes.WIDE, "height": axes.tall((row["inputs"] for row in data), 28), "layer": [trial, most]}
    return Chart("inputs", "What the surrogate saw", says, data, drawing)


def _rows(study: StudySpec, records: Sequence[TrialRecord]) -> Iterator[Row]:
    for record in records:
        arm, score = record.assignment.arm, record.score
        if record.state == "complete" and score is not None and not isnan(score):
            loss = study.controls[arm].name if arm in study.controls else None
            if loss in (None, "cross_entropy"):
                inputs = record.assignment.specs(study)[0].fit_surrogate.inputs if loss is None else "cross-entropy"
                yield {"inputs": inputs, "arm": arm, "trial": record.assignment.name, "score": score}
