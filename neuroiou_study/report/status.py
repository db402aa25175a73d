"""Where a study stands, and what it has still to do, from its file and the store alone."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.draw import draw_surrogates
from neuroiou_study.stages.ledger import Ledger, Total
from neuroiou_study.stages.pipeline import plan
from neuroiou_study.stages.records import StudyRecords, TrialRecord, best_of, driver_lease
from neuroiou_study.stages.screen import num_fitted
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import shared_stages
from neuroiou_study.stages.val import has_finals, open_confirmations


@dataclass(frozen=True)
class StageRow:
    """A stage of the study: how often it runs at most, and how many of these results are in the store."""

    stage: str
    shared: bool
    wanted: int
    in_store: int


def stage_rows(study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> list[StageRow]:
    """Every stage of the study, in order. Shared stages run once a seed, the others once a trial and seed at most."""
    shared = shared_stages(study)
    names = list(plan(study.sample({})))
    return [_stage_row(study, store, records, name, name in shared) for name in names]


def _stage_row(study: StudySpec, store: Store, records: Sequence[TrialRecord], stage: str, is_shared: bool) -> StageRow:
    if is_shared:
        addresses = {plan(study.sample({}, seed=seed))[stage].address for seed in study.seeds}
        return StageRow(stage, True, len(addresses), sum(store.find(address) is not None for address in addresses))
    arms = [arm for arm in study.arms if stage in plan(study.sample({}, arm=arm))]
    screened = study.screened_arms if stage == "fit_surrogate" else ()
    others = [arm for arm in arms if arm not in screened]
    wanted = (sum(map(study.num_trials, others)) + num_screened(study, screened)) * len(study.seeds)
    done = sum(stage in run.stages for record in records if record.assignment.arm in others for run in record.runs)
    done += sum(num_fitted(study, arm, store) for arm in screened)
    return StageRow(stage, False, wanted, done)


def num_screened(study: StudySpec, arms: Sequence[str]) -> int:
    """How many surrogates the screening of ``arms`` fits on each seed."""
    return sum(len(draw_surrogates(study, arm)) for arm in arms)


def plan_table(rows: Sequence[StageRow]) -> Table:
    """The stages for a terminal."""
    table = Table(title="Stages", title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("runs")
    table.add_column("at most", justify="right")
    table.add_column("in the store", justify="right")
    for row in rows:
        runs = "once a seed, shared by all trials" if row.shared else "once a trial and seed"
        table.add_row(row.stage, runs, str(row.wanted), str(row.in_store))
    return table


def num_runs(study: StudySpec) -> int:
    """How many trials a study runs: those of the search and their confirmations."""
    return sum(study.num_trials(arm) for arm in study.arms) + num_confirmations(study)


def num_confirmations(study: StudySpec) -> int:
    """How many trials are run again after the search, if every arm has enough that are complete."""
    if study.confirm is None:
        return 0
    per_seed = sum(min(study.confirm.top, study.num_trials(arm)) for arm in study.learned_arms) + len(study.controls)
    return per_seed * study.confirm.seeds


@dataclass(frozen=True)
class ArmStatus:
    """How far an arm is."""

    arm: str
    wanted: int
    complete: int
    pruned: int
    gated: int
    failed: int
    best_trial: str | None
    best_select_miou: float | None


@dataclass(frozen=True)
class Status:
    """Where a study stands. ``driver`` is who runs it now, if anybody does."""

    study: str
    driver: str | None
    arms: list[ArmStatus]
    confirmations: int
    confirmations_wanted: int
    cost: Total
    """What the study took until now, restarts included."""
    running: list[str]
    """Trials of the search that the driver has handed out and that have not ended; none without a driver."""
    is_over: bool
    """Nobody runs it, and what has ended is confirmed and decided."""

    def as_document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "cost": self.cost.model_dump(mode="json")}


def make_status(study: StudySpec, store: Store) -> Status:
    """The status of what is in ``store`` now."""
    trials = StudyRecords(study, store)
    records, driver = list(trials), store.lease_holder(driver_lease(study))
    return Status(
        study=study.identity,
        driver=driver,
        arms=[_arm_status(study, records, arm) for arm in study.arms],
        confirmations=len(trials.confirmations()),
        confirmations_wanted=num_confirmations(study),
        cost=Ledger(study.identity, store).total(),
        running=_running(trials, records) if driver else [],
        is_over=not driver and bool(records) and has_finals(study, store) and not open_confirmations(study, store),
    )


def _running(trials: StudyRecords, records: Sequence[TrialRecord]) -> list[str]:
    ended = {record.assignment.name for record in records}
    return [name for name in trials.begun() if name not in ended]


def _arm_status(study: StudySpec, records: Sequence[TrialRecord], arm: str) -> ArmStatus:
    states = [record.state for record in records if record.assignment.arm == arm]
    best = best_of(records, arm)
    return ArmStatus(
        arm=arm,
        wanted=study.num_trials(arm),
        complete=states.count("complete"),
        pruned=states.count("pruned"),
        gated=states.count("gated"),
        failed=states.count("failed"),
        best_trial=best.assignment.name if best else None,
        best_select_miou=best.score if best else None,
    )


def status_table(status: Status) -> Table:
    """The status for a terminal."""
    title = f"Study {status.study} · " + (f"run by {status.driver}" if status.driver else "not running")
    table = Table(title=title, title_justify="left")
    table.add_column("arm", no_wrap=True)
    for column in ("trials", "complete", "pruned", "gated", "failed", "best select mIoU"):
        table.add_column(column, justify="right")
    for row in status.arms:
        counts = (row.complete, row.pruned, row.gated, row.failed)
        trained = sum(counts) - row.gated
        best = "–" if row.best_select_miou is None else f"{row.best_select_miou:.4f} ({row.best_trial})"
        table.add_row(row.arm, f"{trained}/{row.wanted}", *map(str, counts), best)
    if status.confirmations_wanted:
        table.add_row("confirmation", f"{status.confirmations}/{status.confirmations_wanted}", *[""] * 5)
    running = [f"Running: {', '.join(status.running)}."] if status.running else []
    table.caption, table.caption_justify = "\n".join([*running, cost_line(status.cost)]), "left"
    return table


def cost_line(cost: Total) -> str:
    """What a study took, for a person."""
    lost = f", {_hours(cost.lost_seconds)} of them in attempts that died or failed" if cost.lost_seconds else ""
    taken = f"{_hours(cost.cpu_seconds)} of processor cores, {_hours(cost.gpu_seconds)} of GPUs"
    return f"Took {taken}, {_hours(cost.seconds)} of stages{lost}."


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 360 else f"{seconds:.0f} s"
