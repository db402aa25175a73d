"""Store → MLflow runs, models, registry. The store is the truth, MLflow is the view.

Nothing of MLflow stops or slows a study: what fails is noted once, left for a minute and caught up with later, by this
process or by ``neuroiou-study sync``.
"""

import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

# Read when mlflow is imported: a study does not report its use to anybody unless its user says so.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from boto3.exceptions import Boto3Error  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from mlflow.exceptions import MlflowException
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from neuroiou_study.orchestrate.mlflow_view import MlflowView
from neuroiou_study.orchestrate.uris import redacted
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.records import Assignment, StudyRecords, TrialRecord
from neuroiou_study.stages.store import Store

PAUSE_SECONDS = 60.0
"""After a failure nothing is tried for so long; *assumed*."""
PAUSE_FACTOR = 20
"""… or for so many times what the failure took, so that a server that hangs costs a twentieth at most; *assumed*."""
DEFAULTS = {
    # A refused connection then costs milliseconds (measured), a server that hangs twice 10 s; MLflow's own: 248 s.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
OUTAGES = (RequestException, SQLAlchemyError, sqlite3.Error, Boto3Error, BotoCoreError, ClientError)
FAILURES = (MlflowException, OSError, RuntimeError, json.JSONDecodeError, *OUTAGES)
"""What ends an attempt and not the study: MLflow, its server, its artifacts' storage, a file that went away or is
just being written."""


class Tracker:
    """Shows ``study`` in MLflow while it runs. One thread at a time may use it.

    Raises ValueError for a ``uri`` that is neither ``http(s)://…`` nor ``sqlite:////…``; no method raises otherwise.
    """

    def __init__(self, study: StudySpec, store: Store, uri: str) -> None:
        set_defaults()
        self._view, self._records = MlflowView(study, store, uri), StudyRecords(study, store)
        self._uri = uri
        self._pending: dict[str, TrialRecord] = {}
        self._shown: set[str] = set()
        self._lacks_summary = False
        self._resume_at = 0.0
        self._has_warned = False
        self._attempt(self._view.open)

    @property
    def behind(self) -> tuple[str, ...]:
        """Names of ended trials that MLflow does not show yet, and ``summary`` if it missed the end of the study."""
        return (*self._pending, "summary") if self._lacks_summary else tuple(self._pending)

    def begin(self, assignment: Assignment) -> None:
        """A trial starts, or starts again: its run is there, RUNNING, with its parameters."""
        self._shown.discard(assignment.name)
        self._attempt(lambda: self._view.begin(assignment))

    def progress(self, assignment: Assignment | None, progress: Progress) -> None:
        """An epoch of a trial has ended; without ``assignment``, of a stage that all trials share."""
        self._attempt(lambda: self._view.progress(assignment, progress))

    def finish(self, record: TrialRecord) -> None:
        """A trial has ended: its run has everything and is over. Catches up with trials that MLflow missed."""
        self._pending.pop(record.assignment.name, None)
        self._pending[record.assignment.name] = record
        self._catch_up()

    def conclude(self, records: Sequence[TrialRecord]) -> None:
        """The study's search has ended with ``records``: MLflow shows them, their confirmation and the champion."""
        self._resume_at = 0.0
        everything = [*records, *self._records.confirmations()]
        others = [record for record in everything if record.assignment.name not in self._shown]
        self._attempt(lambda: self._note_missing(others))
        self._catch_up()
        self._attempt(lambda: self._view.stop_unrecorded(everything))
        self._lacks_summary = not self._attempt(lambda: self._view.conclude(records))

    def _note_missing(self, records: Sequence[TrialRecord]) -> None:
        for record in self._view.missing(records):
            self._pending.setdefault(record.assignment.name, record)

    def _catch_up(self) -> None:
        # The newest first: a trial that MLflow will never take must not keep the others out.
        for name, record in reversed(list(self._pending.items())):
            if self._attempt(lambda record=record: self._view.mirror(record)):  # type: ignore[misc]
                del self._pending[name]
                self._shown.add(name)

    def _attempt(self, action: Callable[[], None]) -> bool:
        """Did ``action`` succeed? It is not even tried shortly after an outage."""
        begin = time.monotonic()
        if begin < self._resume_at:
            return False
        try:
            with quiet():
                action()
        except FAILURES as error:
            self._forgive(error, time.monotonic() - begin)
            return False
        return True

    def _forgive(self, error: Exception, seconds: float) -> None:
        self._view.forget()
        if _is_outage(error):
            self._resume_at = time.monotonic() + max(PAUSE_SECONDS, PAUSE_FACTOR * seconds)
        level = logging.DEBUG if self._has_warned else logging.WARNING
        self._has_warned = True
        rule = "the study goes on without it and catches up"
        remedy = "if it does not, `neuroiou-study sync` writes everything from the store"
        _log.log(level, "MLflow at %s: %s: %s: %s", redacted(self._uri), redacted(error), rule, remedy)


def sync(study: StudySpec, store: Store, uri: str) -> int:
    """Make MLflow show everything that ``store`` has of ``study``; returns the number of runs of trials.

    Raises ValueError for a wrong ``uri`` and RuntimeError if MLflow cannot be reached or refuses.
    """
    set_defaults()
    view, records = MlflowView(study, store, uri), StudyRecords(study, store)
    everything = [*records, *records.confirmations()]
    try:
        with quiet():
            for record in everything:
                view.mirror(record)
            view.conclude(list(records))
    except FAILURES as error:
        rule = "must be reachable and take the study's runs"
        remedy = "start the server or correct --tracking-uri, and run `neuroiou-study sync` again"
        # Without the cause: its text may have the password of the uri.
        raise RuntimeError(f"MLflow at {redacted(uri)}: {redacted(error)}: {rule}: {remedy}") from None
    return len(everything)


_log = logging.getLogger(__name__)


def set_defaults() -> None:
    """How MLflow's client is to behave, where the environment does not say otherwise."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def _is_outage(error: Exception) -> bool:
    """Is it MLflow that is away, rather than one thing that it does not take?"""
    if isinstance(error, MlflowException):
        status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
        return status >= 500 or status == 429
    return isinstance(error, OUTAGES)


@contextmanager
def quiet() -> Iterator[None]:
    """What MLflow logs inside the block is not shown; what matters of it is in the exception."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3.connectionpool")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
