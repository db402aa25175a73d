"""One trial as Ray Tune runs it: in the trial's own process, or in a worker group that it starts."""

import functools
from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from neuroiou_study.orchestrate.groups import run_with_retries
from neuroiou_study.orchestrate.line import Line, here, taken_away
from neuroiou_study.orchestrate.ray_backend import GroupFailedError, lone_worker
from neuroiou_study.orchestrate.searcher import POSTPONED, UNAVAILABLE
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Leaving
from neuroiou_study.stages.objects import is_outage
from neuroiou_study.stages.records import Assignment, StudyRecords
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import make_record, must_wait, needed, run_trial


def trial_function(study: StudySpec, store: Store, agenda: Any) -> Callable[[dict[str, Any]], None]:
    """What Tune calls for each configuration; it reports how the trial ended, once.

    It raises where its machine has to go: Tune then begins it again elsewhere. What is not recorded at all was killed,
    and Tune begins that again too; ``retry.crashes`` is counted here.
    """

    def trial(config: dict[str, Any]) -> None:
        assignment = Assignment.model_validate(config["assignment"])
        try:
            _run_or_fail(study, store, assignment, agenda)
        except Leaving:
            ray.get(agenda.forgive.remote(assignment.name))
            raise
        except OSError as error:
            if not is_outage(error):
                raise
            tune.report({"score": None, "state": UNAVAILABLE, "error": str(error)})
        else:
            record = StudyRecords(study, store).find(assignment)
            tune.report({"score": record and record.score, "state": record.state if record else POSTPONED})

    return trial


def _run_or_fail(study: StudySpec, store: Store, assignment: Assignment, agenda: Any) -> None:
    crashes = ray.get(agenda.begin_attempt.remote(assignment.name, here(), taken_away()))
    if crashes > study.retry.crashes:
        reason = f"it crashed {crashes} times; retry.crashes allows {study.retry.crashes}: see Ray's log"
        return _record_failure(study, store, assignment, reason)
    line = Line(agenda, assignment, study.retry.hung_seconds)
    if study.resources.workers == 1:
        with line.attended(lone_worker(study.resources)) as worker:
            run_trial(study, assignment, store, worker, wait=False)
    else:
        _run_in_group(study, store, assignment, line)
    if StudyRecords(study, store).find(assignment) is None:
        ray.get(agenda.forgive.remote(assignment.name))  # it waits for another trial
    return None


def _run_in_group(study: StudySpec, store: Store, assignment: Assignment, line: Line) -> None:
    if must_wait(needed(study, assignment), store):
        return  # without a group that would find out
    task = functools.partial(run_trial, study, assignment, store, wait=False)
    try:
        run_with_retries(study, store, task, study.resources.workers, line)
    except GroupFailedError as error:
        _record_failure(study, store, assignment, str(error))


def _record_failure(study: StudySpec, store: Store, assignment: Assignment, reason: str) -> None:
    StudyRecords(study, store).write(make_record(study, assignment, store, "failed", reason, 0.0))
