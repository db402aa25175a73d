"""Fig. 6 of a study of one's own: what the surrogate saw and what came of it."""

from math import nan

from neuroiou_study.report.charts.inputs import inputs_chart
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.records import Assignment, State, TrialRecord
from tests.studies import TINY


def trial(arm: str, number: int, score: float | None, state: State = "complete", **values: str) -> TrialRecord:
    dotted = {name.replace("__", "."): value for name, value in values.items()}
    assignment = Assignment(arm=arm, number=number, values=dict(dotted))
    return TrialRecord(assignment=assignment, state=state, score=score, error=None, seconds=1.0, runs=[])


def study() -> StudySpec:
    return StudySpec.model_validate({**TINY, "variants": {"six": {"fit_surrogate.inputs": "prob6"}}})


def test_scores_by_input_set_with_variants_and_cross_entropy_beside_them() -> None:
    records = [
        trial("neuroiou", 0, 0.5, fit_surrogate__inputs="prob3"),
        trial("neuroiou", 1, 0.6, fit_surrogate__inputs="hinge3"),
        trial("six", 0, 0.4),
        trial("ce", 0, 0.3),
        trial("soft_iou", 0, 0.9),
        trial("neuroiou", 2, 0.7, "pruned", fit_surrogate__inputs="prob3"),
        trial("neuroiou", 3, nan, fit_surrogate__inputs="prob3"),
    ]
    chart = inputs_chart(study(), records)
    assert chart is not None
    assert [(row["inputs"], row["arm"], row["score"]) for row in chart.rows] == [
        ("cross-entropy", "ce", 0.3),
        ("hinge3", "neuroiou", 0.6),
        ("prob3", "neuroiou", 0.5),
        ("prob6", "six", 0.4),
    ]


def test_one_input_set_is_no_comparison() -> None:
    assert inputs_chart(study(), [trial("neuroiou", 0, 0.5), trial("ce", 0, 0.3)]) is None
    assert inputs_chart(study(), []) is None
