"""A whole study, on a cluster or in this process: search, confirmation, and the view in MLflow."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from neuroiou_study.orchestrate.confirmation import Confirmation
from neuroiou_study.orchestrate.tracking import Tracker
from neuroiou_study.orchestrate.where import Where
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import LocalWorker, Progress, best_device
from neuroiou_study.stages.made_with import note_made_with
from neuroiou_study.stages.news import Begun, Ended, Epoch, News, Observer, Postponed
from neuroiou_study.stages.objects import StoreUnavailableError, is_outage
from neuroiou_study.stages.records import Assignment, StudyRecords, TrialRecord, driver_lease
from neuroiou_study.stages.screen import run_screening
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import run_shared_stages, run_trial
from neuroiou_study.stages.val import run_finals

_log = logging.getLogger(__name__)


class StudyBusyError(Exception):
    """Another driver runs this study."""


class Agenda(Protocol):
    """What is to be run, one assignment after the other: the search, then the confirmation."""

    def next(self) -> Assignment | None: ...

    def report(self, assignment: Assignment | None, progress: Progress) -> bool: ...

    def settle(self, assignment: Assignment, error: str | None = None) -> None: ...

    def news(self) -> list[News]: ...


def run_study(study: StudySpec, store: Store, where: Where, observer: Observer) -> list[TrialRecord]:
    """Run ``study`` until its budget is spent, continuing what is in ``store``; returns the records of the search.

    Raises StudyBusyError if another driver has the study.
    """
    with _disk_explained(store), _alone(study, store):
        note_made_with(study, store)
        tracker = Tracker(study, store, where.tracking_uri)

        def hear(news: News) -> None:
            _track(tracker, news)
            observer(news)

        if where.backend == "local":
            run_here(study, store, hear, where.optuna_url)
        else:
            _run_on_ray(study, store, where, hear)
        records = list(StudyRecords(study, store))
        tracker.conclude(records)
        if tracker.behind:
            _log.warning("MLflow does not show %s yet: `neuroiou-study sync` writes them", ", ".join(tracker.behind))
    return records


def run_here(study: StudySpec, store: Store, observer: Observer, optuna_url: str | None = None) -> None:
    """The study in this process, one trial after the other, without Ray."""
    from neuroiou_study.orchestrate.search import Search

    search = Search(study, store, optuna_url)
    run_shared_stages(study, study.seeds, store, _worker(study, search, None, observer))
    run_screening(study, store, _worker(study, search, None, observer))
    _run_all(study, store, search, observer)
    confirmation = Confirmation(study, store)
    _run_all(study, store, confirmation, observer)
    run_finals(study, store, _worker(study, confirmation, None, observer))


def _run_all(study: StudySpec, store: Store, agenda: Agenda, observer: Observer) -> None:
    while (assignment := agenda.next()) is not None:
        _pass_on(agenda.news(), observer)
        run_trial(study, assignment, store, _worker(study, agenda, assignment, observer))
        agenda.settle(assignment)
        _pass_on(agenda.news(), observer)


def _worker(study: StudySpec, agenda: Agenda, assignment: Assignment | None, observer: Observer) -> LocalWorker:
    def listener(progress: Progress) -> bool:
        stop = agenda.report(assignment, progress)
        _pass_on(agenda.news(), observer)
        return stop

    return LocalWorker(best_device(), listener, study.resources)


def _run_on_ray(study: StudySpec, store: Store, where: Where, observer: Observer) -> None:
    # Ray takes a second to import; a local run does not need it.
    from neuroiou_study.orchestrate.cluster import connected
    from neuroiou_study.orchestrate.tuning import run_on_ray

    with connected(where.address):
        run_on_ray(study, store, where.optuna_url, observer)


def _pass_on(news: list[News], observer: Observer) -> None:
    for item in news:
        observer(item)


def _track(tracker: Tracker, news: News) -> None:
    match news:
        case Begun(assignment):
            tracker.begin(assignment)
        case Epoch(assignment, progress):
            tracker.progress(assignment, progress)
        case Postponed():
            pass  # its run stays open
        case Ended(record):
            tracker.finish(record)


@contextmanager
def _disk_explained(store: Store) -> Iterator[None]:
    """An error of the disk in the block names the store and what to do."""
    try:
        yield
    except OSError as error:
        cause = getattr(error, "cause", error)  # the text of Ray's own copy is a traceback
        if not is_outage(cause):
            raise
        remedy = "see that there is space and that it can be reached and written to, and run the same command again"
        raise StoreUnavailableError(f"{store.address}: {cause}: must take the study's results: {remedy}") from error


@contextmanager
def _alone(study: StudySpec, store: Store) -> Iterator[None]:
    lease = store.try_lease(driver_lease(study))
    if lease is None:
        owner = store.lease_holder(driver_lease(study))
        raise StudyBusyError(f"study {study.identity}: run by {owner}: one driver at a time: wait for it or end it")
    with lease:
        yield
