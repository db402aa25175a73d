"""Where Optuna keeps its studies, and patience with a database that is away for a moment."""

import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from neuroiou_study.orchestrate.uris import redacted
from neuroiou_study.stages.objects import StoreUnavailableError

Result = TypeVar("Result")
Given = ParamSpec("Given")
PATIENCE_SECONDS = 300.0
"""*Assumed*: a database that is started again is back by then."""
PAUSE_SECONDS = 0.5
MAKING_SECONDS = 20.0
"""*Assumed*; other processes have made Optuna's tables by then."""
CONNECT_SECONDS = 5
"""*Assumed*; libpq wants a whole number."""
OUTAGES = (StorageInternalError, SQLAlchemyError)

_log = logging.getLogger(__name__)


def open_storage(url: str | None, journal: Path, patience_seconds: float = PATIENCE_SECONDS) -> BaseStorage:
    """Optuna's storage in the database at ``url``, or in the file ``journal``; what is not there is made.

    Raises ValueError for a url that is none, and StoreUnavailableError if the database stays away for so long.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url is None:
        journal.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(journal)))
    try:
        return _connected(url, patience_seconds)
    except (ImportError, ValueError, SQLAlchemyError) as error:
        rule = "must be a database that SQLAlchemy opens, such as postgresql+psycopg2://host/name"
        remedy = "correct it, or install its driver: pip install 'neuroiou-study[postgres]'"
        # Without the cause: its text may have the password of the url.
        raise ValueError(f"--optuna-storage {redacted(url)}: {redacted(error)}: {rule}: {remedy}") from None


def _connected(url: str, patience_seconds: float) -> BaseStorage:
    """The database's storage, with its tables made; of several that make them at once all but one try again."""
    begin = time.monotonic()
    while True:
        try:
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True, **_bounded(url)})
        except OperationalError as error:
            _wait_or_give_up(error, begin, patience_seconds)
        except (IntegrityError, ProgrammingError):
            if time.monotonic() - begin > MAKING_SECONDS:
                raise
            time.sleep(PAUSE_SECONDS)


def _bounded(url: str) -> dict[str, Any]:
    """Settings with which a PostgreSQL that says nothing is away, and not waited for for ever."""
    is_postgres = make_url(url).drivername in ("postgresql+psycopg2", "postgresql+psycopg")
    return {"connect_args": {"connect_timeout": CONNECT_SECONDS}} if is_postgres else {}


def patient(method: Callable[Given, Result]) -> Callable[Given, Result]:
    """``method``, called again while Optuna's database is away; StoreUnavailableError if it stays away."""

    @functools.wraps(method)
    def call(*arguments: Given.args, **named: Given.kwargs) -> Result:
        begin = time.monotonic()
        while True:
            try:
                return method(*arguments, **named)
            except OUTAGES as error:
                _wait_or_give_up(error, begin)

    return call


def _wait_or_give_up(error: Exception, begin: float, patience_seconds: float = PATIENCE_SECONDS) -> None:
    if time.monotonic() - begin > patience_seconds:
        remedy = "start it and run the same command again"
        raise StoreUnavailableError(f"Optuna's database: {redacted(error)}: it stays away: {remedy}") from None
    _log.log(logging.DEBUG, "Optuna's database: %s: waiting for it", redacted(error))
    time.sleep(PAUSE_SECONDS)
