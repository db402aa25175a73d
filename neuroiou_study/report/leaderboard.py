"""The answer of a study: the best of each arm on the split that decides, against the cross-entropy control."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from neuroiou_study.report.screened import ScreenedArm, screened_arms
from neuroiou_study.report.verdict import Comparison, Confirmed, confirm
from neuroiou_study.spec import Scalar, StudySpec
from neuroiou_study.stages.evaluate import read_metrics
from neuroiou_study.stages.records import TrialRecord
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.train_network import read_history
from neuroiou_study.stages.trial import result_folder
from neuroiou_study.stages.val import candidates, finals


@dataclass(frozen=True)
class ArmRow:
    """A trial that stands for its arm: the best one, or one of those confirmed.

    ``val_miou`` is the mean over the fresh seeds of its confirmation, or over the search's seeds where the study has
    none; it and the difference are None until ``val`` is evaluated.
    """

    arm: str
    loss: str
    trial: str | None
    select_miou: float | None
    val_miou: float | None
    val_miou_without_background: float | None
    val_miou_per_seed: list[float]
    difference_to_ce: float | None
    comparisons: list[Comparison]
    complete: int
    pruned: int
    gated: int
    failed: int
    values: dict[str, Scalar]


@dataclass(frozen=True)
class Leaderboard:
    """All arms, best first by ``val_miou`` (or ``select_miou`` before that), and every trial."""

    study: str
    ce_control: str | None
    start_select_miou: float | None
    num_seeds: int
    confirmation_seeds: list[int]
    confidence: float | None
    arms: list[ArmRow]
    trials: list[dict[str, Any]]
    screening: list[ScreenedArm]

    def as_document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def make_leaderboard(study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> Leaderboard:
    """The leaderboard of what is in ``store`` now."""
    confirmed, ce = confirm(study, store, records), ce_control(study)
    rows = [row for arm in study.arms for row in _arm_rows(study, store, records, arm, confirmed)]
    reference = next((row.val_miou for row in rows if row.arm == ce), None)
    rows = [replace(row, difference_to_ce=_difference(row.val_miou, reference)) for row in rows]
    return Leaderboard(
        study=study.identity,
        ce_control=ce,
        start_select_miou=_start(study, store),
        num_seeds=len(study.seeds),
        confirmation_seeds=list(study.fresh_seeds),
        confidence=study.confirm.confidence if study.confirm else None,
        arms=sorted(rows, key=lambda row: (row.val_miou or -1, row.select_miou or -1), reverse=True),
        trials=[_trial_row(record) for record in sorted(records, key=lambda r: -(r.score or -1))],
        screening=screened_arms(study, store, records),
    )


def ce_control(study: StudySpec) -> str | None:
    """The control that is cross-entropy trained for as long, which every gain is measured against."""
    return next((name for name, loss in study.controls.items() if loss.name == "cross_entropy"), None)


def _arm_rows(
    study: StudySpec, store: Store, records: Sequence[TrialRecord], arm: str, confirmed: dict[str, Confirmed]
) -> list[ArmRow]:
    """A row for each trial of the arm whose ``val`` counts; one without a trial if there is none yet."""
    chosen = [record for record in candidates(study, records) if record.assignment.arm == arm]
    if not chosen:
        return [_arm_row(study, records, arm, None, _OnVal())]
    return [
        _arm_row(study, records, arm, record, _on_val(study, store, record, confirmed.get(record.assignment.name)))
        for record in chosen
    ]


@dataclass(frozen=True)
class _OnVal:
    """What a trial reached on ``val``, as far as it is there."""

    miou: float | None = None
    miou_without_background: float | None = None
    miou_per_seed: list[float] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)


def _on_val(study: StudySpec, store: Store, record: TrialRecord, confirmed: Confirmed | None) -> _OnVal:
    if confirmed is not None:
        means = (confirmed.scores["miou"], confirmed.scores["miou_without_background"])
        return _OnVal(*means, confirmed.miou_per_seed, confirmed.comparisons)
    specs = finals(study, [record]).get(record.assignment.arm, ())
    folders = [result_folder(spec, "evaluate", store) for spec in specs]
    found = [read_metrics(folder) for folder in folders if folder is not None]
    if not found or len(found) < len(specs):
        return _OnVal()
    mious = [each["miou"] for each in found]
    return _OnVal(fmean(mious), fmean(each["miou_without_background"] for each in found), mious)


def _difference(value: float | None, reference: float | None) -> float | None:
    return None if value is None or reference is None else value - reference


def _arm_row(
    study: StudySpec, records: Sequence[TrialRecord], arm: str, chosen: TrialRecord | None, on_val: _OnVal
) -> ArmRow:
    states = [record.state for record in records if record.assignment.arm == arm]
    return ArmRow(
        arm=arm,
        loss=study.sample({}, arm=arm).finetune.loss.name,
        trial=chosen.assignment.name if chosen else None,
        select_miou=chosen.score if chosen else None,
        val_miou=on_val.miou,
        val_miou_without_background=on_val.miou_without_background,
        val_miou_per_seed=on_val.miou_per_seed,
        difference_to_ce=None,
        comparisons=on_val.comparisons,
        complete=states.count("complete"),
        pruned=states.count("pruned"),
        gated=states.count("gated"),
        failed=states.count("failed"),
        values=chosen.assignment.values if chosen else {},
    )


def _trial_row(record: TrialRecord) -> dict[str, Any]:
    return {
        "trial": record.assignment.name,
        "arm": record.assignment.arm,
        "state": record.state,
        "select_miou": record.score,
        "seconds": record.seconds,
        "error": record.error,
        "values": record.assignment.values,
        "stages": {run.seed: run.stages for run in record.runs},
    }


def _start(study: StudySpec, store: Store) -> float | None:
    """Mean IoU of Θ_CE on ``select``, before any fine-tuning; None if pretraining is searched or not done."""
    if any(name.startswith("pretrain.") for name in study.search):
        return None
    folders = [result_folder(study.sample({}, seed=seed), "pretrain", store) for seed in study.seeds]
    scores = [read_history(folder)[-1]["select_miou"] for folder in folders if folder is not None]
    return fmean(scores) if scores else None
