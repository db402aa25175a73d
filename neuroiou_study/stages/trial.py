"""One trial of a study, for every seed, from its values to its record; and the work that trials share."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from neuroiou_study.spec import SURROGATE_ARM, StudySpec, TrialSpec
from neuroiou_study.spec.trial import EvaluateSpec
from neuroiou_study.stages.backend import Pruned, Worker
from neuroiou_study.stages.pipeline import STAGES, plan, run_stages
from neuroiou_study.stages.records import Assignment, SeedRun, State, StudyRecords, TrialRecord, best_of
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.train_network import read_history

FAILURES = (RuntimeError, ValueError, OSError)
"""What ends one trial and not the study: a diverged loss, memory, a file that went away."""


def run_trial(study: StudySpec, assignment: Assignment, store: Store, worker: Worker) -> None:
    """Run every seed of a trial and leave its record in the store, whether it ends complete, pruned or failed."""
    begin = time.monotonic()

    def finish(state: State, error: str | None = None) -> None:
        if worker.is_first:
            record = make_record(study, assignment, store, state, error, time.monotonic() - begin)
            StudyRecords(study, store).write(record)

    try:
        for spec in assignment.specs(study):
            run_stages(spec, store, worker)
    except Pruned:
        finish("pruned")
    except FAILURES as failure:
        finish("failed", f"{type(failure).__name__}: {failure}")
        if worker.shard.world_size > 1:
            raise  # the others wait for this one: their group has to end
    else:
        finish("complete")


def make_record(
    study: StudySpec, assignment: Assignment, store: Store, state: State, error: str | None, seconds: float
) -> TrialRecord:
    """The record of a trial that ended in ``state`` after ``seconds`` of this attempt."""
    runs = [_seed_run(spec, store) for spec in assignment.specs(study)]
    scores = [run.history[-1]["select_miou"] for run in runs if run.history]
    return TrialRecord(
        assignment=assignment,
        state=state,
        score=fmean(scores) if scores else None,
        error=error,
        seconds=seconds,
        runs=runs,
    )


def _seed_run(spec: TrialSpec, store: Store) -> SeedRun:
    planned = plan(spec)
    complete = {name: step.address for name, step in planned.items() if store.has(step.address)}
    folder = store.started(planned["finetune"].address)
    return SeedRun(seed=spec.seed, stages=complete, history=read_history(folder) if folder else [])


def shared_stages(study: StudySpec) -> tuple[str, ...]:
    """The first stages of the surrogate's arm that no range touches: equal in all trials, so worth all machines."""
    varied = {name.split(".")[0] for name in study.search}
    shared: list[str] = []
    for stage in STAGES:
        if stage.name in ("finetune", "evaluate") or varied & set(stage.reads) or set(stage.upstream) - set(shared):
            break
        shared.append(stage.name)
    return tuple(shared)


def run_shared_stages(study: StudySpec, store: Store, worker: Worker) -> None:
    """Complete what all trials share, for each seed."""
    for seed in study.seeds:
        run_stages(study.sample({}, arm=SURROGATE_ARM, seed=seed), store, worker, shared_stages(study))


def has_shared_stages(study: StudySpec, store: Store) -> bool:
    """Is everything that all trials share in the store, so that no worker has to be started for it?"""
    plans = [plan(study.sample({}, arm=SURROGATE_ARM, seed=seed)) for seed in study.seeds]
    return all(store.has(each[name].address) for each in plans for name in shared_stages(study))


def has_finals(study: StudySpec, store: Store) -> bool:
    """Is the best trial of each arm, as it is now, evaluated on ``val``?"""
    best = finals(study, list(StudyRecords(study, store))).values()
    return all(store.has(plan(spec)["evaluate"].address) for specs in best for spec in specs)


def finals(study: StudySpec, records: Sequence[TrialRecord]) -> dict[str, tuple[TrialSpec, ...]]:
    """Arm → its best trial, for each seed, on ``val``: the one time that the deciding split is opened."""
    best = {arm: best_of(records, arm) for arm in study.arms}
    split = EvaluateSpec(split="val", batch_size=study.evaluate.batch_size)
    return {
        arm: tuple(spec.model_copy(update={"evaluate": split}) for spec in record.assignment.specs(study))
        for arm, record in best.items()
        if record is not None
    }


def run_finals(study: StudySpec, store: Store, worker: Worker) -> None:
    """Evaluate the best trial of each arm on ``val``."""
    for specs in finals(study, list(StudyRecords(study, store))).values():
        for spec in specs:
            run_stages(spec, store, worker, ["evaluate"])


def result_folder(spec: TrialSpec, stage: str, store: Store) -> Path | None:
    """The complete folder of a stage of ``spec``, or None."""
    planned = plan(spec)
    return store.find(planned[stage].address) if stage in planned else None
