"""What a study has recorded in the store: one small file a trial, from which everything else can be rebuilt."""

import json
from collections.abc import Iterable, Iterator
from math import isnan, nan
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict

from neuroiou_study.spec import SURROGATE_ARM, Scalar, StudySpec, TrialSpec
from neuroiou_study.spec.base import Spec
from neuroiou_study.stages.store import Store, write_json

State = Literal["complete", "pruned", "failed"]


class Assignment(Spec):
    """A trial that is to be run: an arm of the study and values for the ranges it is searched over."""

    arm: str
    number: int
    values: dict[str, Scalar]

    @property
    def name(self) -> str:
        """``<arm>-<number>``: the trial's name in the store, in MLflow and in the leaderboard."""
        return f"{self.arm}-{self.number:03d}"

    def specs(self, study: StudySpec) -> tuple[TrialSpec, ...]:
        """The complete trial for each seed of ``study``."""
        return tuple(study.sample(self.values, arm=self.arm, seed=seed) for seed in study.seeds)


class SeedRun(Spec):
    """What one seed of a trial left: addresses of its complete stages, and the history of its fine-tuning."""

    model_config = ConfigDict(allow_inf_nan=True)  # a mean IoU is NaN where no class is

    seed: int
    stages: dict[str, str]
    history: list[dict[str, float]]


class TrialRecord(Spec):
    """A trial that has ended. ``score`` is the mean over the seeds of the last epoch's mean IoU on ``select``."""

    model_config = ConfigDict(allow_inf_nan=True)

    assignment: Assignment
    state: State
    score: float | None
    error: str | None
    seconds: float
    runs: list[SeedRun]

    @property
    def is_learned(self) -> bool:
        """Does this trial belong to the surrogate's arm?"""
        return self.assignment.arm == SURROGATE_ARM


class StudyRecords:
    """The records of ``study`` in ``store``."""

    def __init__(self, study: StudySpec, store: Store) -> None:
        self.folder = store.study_folder(study.identity)
        self._study = study
        self._trials = self.folder / "trials"

    def begin(self) -> None:
        """Make the folder and write ``study.json``, the study as it is run now."""
        self._trials.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "study.json", self._study.model_dump(mode="json"))

    def write(self, record: TrialRecord) -> None:
        """Record ``record``; a record of the same trial is replaced."""
        self._trials.mkdir(parents=True, exist_ok=True)
        write_json(self._path(record.assignment), record.model_dump(mode="json"))

    def find(self, assignment: Assignment) -> TrialRecord | None:
        """The record of a trial, or None while it has not ended."""
        path = self._path(assignment)
        return _read(path) if path.is_file() else None

    def __iter__(self) -> Iterator[TrialRecord]:
        """Every record, by arm and number."""
        records = (_read(path) for path in self._trials.glob("*.json"))
        return iter(sorted(records, key=lambda record: (record.assignment.arm, record.assignment.number)))

    def _path(self, assignment: Assignment) -> Path:
        return self._trials / f"{assignment.name}.json"


def driver_lease(study: StudySpec) -> str:
    """The lease that the one driver of ``study`` holds."""
    return f"study-{study.identity}"


def _read(path: Path) -> TrialRecord:
    return TrialRecord.model_validate(json.loads(path.read_text()))


def best_of(records: Iterable[TrialRecord], arm: str) -> TrialRecord | None:
    """The complete trial of ``arm`` with the highest score, the earlier one of equals; None if there is none."""
    complete = [r for r in records if r.assignment.arm == arm and r.state == "complete" and not isnan(_score(r))]
    return max(complete, key=_score, default=None)


def _score(record: TrialRecord) -> float:
    return nan if record.score is None else record.score
