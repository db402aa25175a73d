"""One trial of a study, for every seed, from its values to its record; and the work that trials share."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch

from neuroiou_study.spec import StudySpec, TrialSpec
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages.backend import Pruned, Worker
from neuroiou_study.stages.gate import Gated
from neuroiou_study.stages.objects import is_outage
from neuroiou_study.stages.pipeline import STAGES, MustWait, plan, run_stages
from neuroiou_study.stages.records import Assignment, SeedRun, State, StudyRecords, TrialRecord
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.train_network import read_history

FAILURES = (RuntimeError, ValueError, OSError)
"""What ends one trial and not the study: a diverged loss, memory, a file that went away."""

_log = logging.getLogger(__name__)


def run_trial(study: StudySpec, assignment: Assignment, store: Store, worker: Worker, *, wait: bool = True) -> None:
    """Run every seed of a trial and leave its record in the store, however it ends.

    Without ``wait`` it returns where it would have to wait for another trial, and leaves no record: run it again later.
    Nor does it where the trial is not at fault: it raises where the store is away (``is_outage``) and Leaving where the
    machine is. In a group of workers a failure is raised too: others may know its cause, so who began them records it.
    """
    begin = time.monotonic()
    worker = replace(worker, account=study.identity)
    try:
        state, failure = _run_seeds(study, assignment, store, worker, wait)
    except MustWait:
        return
    if isinstance(failure, FAILURES) and worker.shard.world_size > 1:
        raise failure
    if worker.is_first:
        error = None if failure is None else _explained(failure)
        record = make_record(study, assignment, store, state, error, time.monotonic() - begin)
        StudyRecords(study, store).write(record)


def _run_seeds(
    study: StudySpec, assignment: Assignment, store: Store, worker: Worker, wait: bool
) -> tuple[State, Exception | None]:
    try:
        for spec in assignment.specs(study):
            run_stages(spec, store, worker, wait=wait)
    except Pruned:
        return "pruned", None
    except Gated as verdict:
        return "gated", verdict
    except FAILURES as failure:
        if is_outage(failure):
            raise
        if not _is_shortage(failure, study, worker):
            return "failed", failure
        _log.warning("%s: %s: begun again with half the batch at a time", assignment.name, failure)
    else:
        return "complete", None
    torch.cuda.empty_cache()
    return _run_seeds(study, assignment, store, replace(worker, resources=halved(worker.resources)), wait)


def _is_shortage(failure: Exception, study: StudySpec, worker: Worker) -> bool:
    """Did a worker that is alone run out of memory, and may it try with less? A group has to begin anew for it."""
    is_alone = worker.shard.world_size == 1
    return is_alone and isinstance(failure, torch.OutOfMemoryError) and may_halve(study, worker.resources)


def may_halve(study: StudySpec, resources: ResourcesSpec) -> bool:
    """May a trial that ran out of memory with ``resources`` be tried again with less at a time? Once."""
    return study.retry.halve_batch and resources.micro_batches == study.resources.micro_batches


def halved(resources: ResourcesSpec) -> ResourcesSpec:
    """``resources`` with half of each batch at a time."""
    return resources.model_copy(update={"micro_batches": 2 * resources.micro_batches})


def _explained(failure: Exception) -> str:
    return str(failure) if isinstance(failure, Gated) else f"{type(failure).__name__}: {failure}"


def needed(study: StudySpec, assignment: Assignment) -> list[str]:
    """The addresses of all results of a trial, in the order in which it makes them."""
    return [step.address for spec in assignment.specs(study) for step in plan(spec).values()]


def must_wait(addresses: Sequence[str], store: Store) -> bool:
    """Is somebody making the first of ``addresses`` that is missing?"""
    missing = next((address for address in addresses if not store.has(address)), None)
    return missing is not None and store.lease_holder(missing) is not None


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


def most_shared_workers(study: StudySpec) -> int:
    """How many workers can make what all trials share: each needs an image of every batch of pretraining."""
    return study.pretrain.batch_size


def run_shared_stages(study: StudySpec, seeds: Sequence[int], store: Store, worker: Worker) -> None:
    """Complete what all trials share, for each of ``seeds``."""
    worker = replace(worker, account=study.identity)
    for seed in seeds:
        run_stages(study.sample({}, seed=seed), store, worker, shared_stages(study))


def has_shared_stages(study: StudySpec, seeds: Sequence[int], store: Store) -> bool:
    """Is everything that all trials share in the store, so that no worker has to be started for it?"""
    plans = [plan(study.sample({}, seed=seed)) for seed in seeds]
    return all(store.has(each[name].address) for each in plans for name in shared_stages(study))


def result_folder(spec: TrialSpec, stage: str, store: Store) -> Path | None:
    """The complete folder of a stage of ``spec``, or None."""
    planned = plan(spec)
    return store.find(planned[stage].address) if stage in planned else None
