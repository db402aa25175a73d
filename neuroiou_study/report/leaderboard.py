"""The answer of a study: the best of each arm on the split that decides, against the cross-entropy control."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from rich.table import Table

from neuroiou_study.spec import Scalar, StudySpec
from neuroiou_study.stages.evaluate import read_metrics
from neuroiou_study.stages.records import TrialRecord, best_of
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.train_network import read_history
from neuroiou_study.stages.trial import finals, result_folder


@dataclass(frozen=True)
class ArmRow:
    """The best trial of an arm. ``val_miou`` and its difference are None until the arm's final is evaluated."""

    arm: str
    loss: str
    trial: str | None
    select_miou: float | None
    val_miou: float | None
    val_miou_per_seed: list[float]
    difference_to_ce: float | None
    complete: int
    pruned: int
    failed: int
    values: dict[str, Scalar]


@dataclass(frozen=True)
class Leaderboard:
    """All arms, best first by ``val_miou`` (or ``select_miou`` before the finals), and every trial."""

    study: str
    ce_control: str | None
    start_select_miou: float | None
    num_seeds: int
    arms: list[ArmRow]
    trials: list[dict[str, Any]]

    def as_document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def make_leaderboard(study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> Leaderboard:
    """The leaderboard of what is in ``store`` now."""
    val = {arm: _val_mious(study, store, records, arm) for arm in study.arms}
    ce = ce_control(study)
    reference = fmean(val[ce]) if ce and val[ce] else None
    arms = [_arm_row(study, records, arm, val[arm], reference) for arm in study.arms]
    return Leaderboard(
        study=study.identity,
        ce_control=ce,
        start_select_miou=_start(study, store),
        num_seeds=len(study.seeds),
        arms=sorted(arms, key=lambda row: (row.val_miou or -1, row.select_miou or -1), reverse=True),
        trials=[_trial_row(record) for record in sorted(records, key=lambda r: -(r.score or -1))],
    )


def ce_control(study: StudySpec) -> str | None:
    """The control that is cross-entropy trained for as long, which every gain is measured against."""
    return next((name for name, loss in study.controls.items() if loss.name == "cross_entropy"), None)


def _arm_row(
    study: StudySpec, records: Sequence[TrialRecord], arm: str, val: list[float], reference: float | None
) -> ArmRow:
    best = best_of(records, arm)
    states = [record.state for record in records if record.assignment.arm == arm]
    return ArmRow(
        arm=arm,
        loss=study.sample({}, arm=arm).finetune.loss.name,
        trial=best.assignment.name if best else None,
        select_miou=best.score if best else None,
        val_miou=fmean(val) if val else None,
        val_miou_per_seed=val,
        difference_to_ce=fmean(val) - reference if val and reference is not None else None,
        complete=states.count("complete"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
        values=best.assignment.values if best else {},
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


def _val_mious(study: StudySpec, store: Store, records: Sequence[TrialRecord], arm: str) -> list[float]:
    """The arm's final mIoU for each seed; empty unless all are there."""
    specs = finals(study, [record for record in records if record.assignment.arm == arm]).get(arm, ())
    folders = [result_folder(spec, "evaluate", store) for spec in specs]
    found = [read_metrics(folder)["miou"] for folder in folders if folder is not None]
    return found if len(found) == len(specs) else []


def _start(study: StudySpec, store: Store) -> float | None:
    """Mean IoU of Θ_CE on ``select``, before any fine-tuning; None if pretraining is searched or not done."""
    if any(name.startswith("pretrain.") for name in study.search):
        return None
    folders = [result_folder(study.sample({}, seed=seed), "pretrain", store) for seed in study.seeds]
    scores = [read_history(folder)[-1]["select_miou"] for folder in folders if folder is not None]
    return fmean(scores) if scores else None


def as_tables(board: Leaderboard, num_trials: int = 10) -> list[Table]:
    """The leaderboard for a terminal: the arms, then the best trials."""
    return [_arms_table(board), _trials_table(board, num_trials)]


def caveats(board: Leaderboard) -> list[str]:
    """What a reader has to know before believing the table."""
    notes = []
    if board.start_select_miou is not None:
        notes.append(f"The pretrained network, before fine-tuning, has mIoU {board.start_select_miou:.4f} on select.")
    if board.ce_control is None:
        notes.append("There is no cross-entropy control: add one under controls to know what the loss gained.")
    if board.num_seeds == 1:
        notes.append("One seed: small differences may be chance. List more under seeds before believing them.")
    return notes


def _arms_table(board: Leaderboard) -> Table:
    table = Table(title=f"Best trial of each arm · study {board.study}", title_justify="left")
    for column in ("arm", "best trial"):
        table.add_column(column, no_wrap=True)
    reference = f"vs {board.ce_control}" if board.ce_control else "vs CE"
    for column in ("select mIoU", "val mIoU", reference, "trials"):
        table.add_column(column, justify="right")
    for row in board.arms:
        is_reference = row.arm == board.ce_control
        difference = "control" if is_reference else _number(row.difference_to_ce, "+.4f")
        scores = (_number(row.select_miou), _number(row.val_miou), difference)
        table.add_row(row.arm, row.trial or "–", *scores, _outcome(row))
    return table


def _outcome(row: ArmRow) -> str:
    counted = [(row.pruned, "pruned"), (row.failed, "failed")]
    remarks = ", ".join(f"{number} {state}" for number, state in counted if number)
    total = str(row.complete + row.pruned + row.failed)
    return f"{total} ({remarks})" if remarks else total


def _trials_table(board: Leaderboard, num_trials: int) -> Table:
    title = f"Best {min(num_trials, len(board.trials))} of {len(board.trials)} trials"
    table = Table(title=title, title_justify="left")
    for column in ("trial", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("select mIoU", justify="right")
    table.add_column("values")
    for row in board.trials[:num_trials]:
        remark = _shortened(row["error"]) if row["error"] else _values(row["values"])
        table.add_row(row["trial"], row["state"], _number(row["select_miou"]), remark)
    return table


def _values(values: dict[str, Scalar]) -> str:
    """``fit_surrogate: depth 4, width 100; finetune: lr 0.001``."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        group, _, field = name.partition(".")
        groups.setdefault(group, []).append(f"{field} {_short(value)}")
    return "; ".join(f"{group}: {', '.join(fields)}" for group, fields in groups.items())


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:99]}…"


def _number(value: float | None, form: str = ".4f") -> str:
    return "–" if value is None else format(value, form)


def _short(value: Scalar) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
