"""IoU by class on ``val`` of the best trial of each arm: what tables and figures are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import Any

from neuroiou_study.spec import StudySpec, TrialSpec
from neuroiou_study.stages.evaluate import read_metrics
from neuroiou_study.stages.records import StudyRecords, best_of
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import result_folder
from neuroiou_study.stages.val import finals


@dataclass(frozen=True)
class ArmScores:
    """An arm on ``val``: mean over its seeds of each class's IoU in percent; None where no seed has the class."""

    arm: str
    per_class: Mapping[str, float | None]
    background: str | None

    def mean(self, classes: Sequence[str] | None = None) -> float | None:
        """Mean IoU over ``classes``, by default all but the background; None if none of them has an IoU."""
        names = [name for name in self.per_class if name != self.background] if classes is None else classes
        found = [value for name in names if (value := self.per_class.get(name)) is not None]
        return fmean(found) if found else None


def val_scores(study: StudySpec, store: Store) -> dict[str, ArmScores]:
    """Arm → its scores, for the arms that have a complete trial and its evaluation on ``val``.

    Of a study that confirms, the best configuration of each arm on the fresh seeds.
    """
    found = {arm: [read_metrics(folder) for _, folder in runs] for arm, runs in val_runs(study, store).items()}
    return {arm: _scores(arm, metrics) for arm, metrics in found.items() if metrics}


def val_runs(study: StudySpec, store: Store) -> dict[str, list[tuple[TrialSpec, Path]]]:
    """Arm → the trial of each seed that counts on ``val`` and the folder of its evaluation."""
    records = StudyRecords(study, store)
    specs = _confirmed(study, records) if study.confirm else finals(study, list(records))
    return {
        arm: [(spec, folder) for spec in of_arm if (folder := result_folder(spec, "evaluate", store)) is not None]
        for arm, of_arm in specs.items()
    }


def _confirmed(study: StudySpec, records: StudyRecords) -> dict[str, tuple[TrialSpec, ...]]:
    best = {record.assignment.trial for arm in study.arms if (record := best_of(records, arm)) is not None}
    found: dict[str, tuple[TrialSpec, ...]] = {}
    for record in records.confirmations():
        if record.assignment.trial in best and record.state == "complete":
            found[record.assignment.arm] = (*found.get(record.assignment.arm, ()), *record.assignment.specs(study))
    return found


def _scores(arm: str, metrics: Sequence[Mapping[str, Any]]) -> ArmScores:
    names = list(metrics[0]["iou_per_class"])
    index = metrics[0]["background"]
    per_class = {name: _mean([each["iou_per_class"][name] for each in metrics]) for name in names}
    return ArmScores(arm, per_class, None if index is None else names[index])


def _mean(values: Sequence[float | None]) -> float | None:
    """In percent."""
    found = [100 * value for value in values if value is not None and not isnan(value)]
    return fmean(found) if found else None
