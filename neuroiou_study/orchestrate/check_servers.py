"""Are MLflow and Optuna's storage there, and do the clocks of the servers agree with this machine's?"""

import contextlib
import os
import socket
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from neuroiou_study.orchestrate.check_store import date_of_bucket
from neuroiou_study.orchestrate.findings import Outcome, nearest, passed, require_writable, skipped
from neuroiou_study.orchestrate.uris import database, redacted
from neuroiou_study.stages.s3_objects import S3Objects
from neuroiou_study.stages.store import Store

CONNECT_SECONDS, READ_SECONDS, PATIENCE_SECONDS = 3.0, 5.0, 2.0
"""*Assumed*: a server that a study can live with answers sooner."""
MOST_SECONDS_APART = 60.0
"""*Assumed*: S3 refuses requests at 15 minutes; a lease lives for less than that."""
_CREDENTIALS = Path("~/.mlflow/credentials")


def check_tracking(uri: str) -> Outcome:
    """Raises ValueError for a wrong ``uri``, OSError or RuntimeError if MLflow is away, too old or too new, or refuses.

    A database is only held against being written to: MLflow itself would make one.
    """
    file = database(uri)
    if file is not None:
        _require_database(file)
        return passed(f"{file}: writable")
    theirs, mine = _get(uri, "/version").text.strip(), version("mlflow")
    if theirs.partition(".")[0] != mine.partition(".")[0] or len(theirs) > len("3.17.0.dev0+local"):
        rule = f"must be an MLflow server of the client's major version, {mine}: start another or correct the address"
        raise RuntimeError(f"--tracking-uri {redacted(uri)}: version {theirs[:40]!r}: {rule}")
    if not os.environ.get("MLFLOW_TRACKING_AUTH"):  # a plugin of MLflow's own client
        _get(uri, "/api/2.0/mlflow/experiments/search?max_results=1")
    return passed(f"{redacted(uri)}: MLflow {theirs}, client {mine}")


def check_optuna(url: str | None, folder: Path) -> Outcome:
    """Raises OSError or ValueError if the database at ``url``, or a journal file in ``folder``, cannot be used."""
    if url is not None:
        return _check_database(url)
    require_writable(folder)
    for journal in folder.glob("optuna.log"):
        journal.open("ab").close()
    return passed(f"a journal file in {folder}: writable")


def _check_database(url: str) -> Outcome:
    _require_port(url)
    # Optuna takes a second to import; a journal file does not need it.
    from neuroiou_study.orchestrate.optuna_storage import open_storage

    open_storage(url, Path(), PATIENCE_SECONDS)
    return passed(f"{redacted(url)}: reachable, with Optuna's tables")


def _require_port(url: str) -> None:
    """Raise OSError at once, *where: value: rule: remedy*, if nobody listens where ``url`` says."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    with contextlib.suppress(ArgumentError, ValueError):  # open_storage says what is wrong with it
        parts = make_url(url)
        if parts.host and parts.port:
            require_listener(parts.host, parts.port, f"--optuna-storage {redacted(url)}")


def require_listener(host: str, port: int, where: str) -> None:
    """Raise ConnectionError, *where: value: rule: remedy*, within seconds if nobody takes connections there."""
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConnectionError(f"{where}: {reason}: must be reachable: start it or correct the address") from None


def check_clocks(store: Store, tracking_uri: str) -> Outcome:
    """Raises RuntimeError if this machine's clock is not within a minute of the store's or the tracking server's.

    Those that do not answer are left out: other checks say so.
    """
    dated = [*_date_of_store(store), *_date_of_tracking(tracking_uri)]
    for each in dated:
        if abs(each.seconds_ahead) > MOST_SECONDS_APART:
            apart = f"{abs(each.seconds_ahead):.0f} s {'ahead of' if each.seconds_ahead > 0 else 'behind'} this machine"
            rule = f"must agree within {MOST_SECONDS_APART:.0f} s: leases end and files are dated by them: set both"
            raise RuntimeError(f"clock of {each.of}: {apart}: {rule}")
    if not dated:
        return skipped("no server told its time")
    return passed("; ".join(f"{each.of}: {each.seconds_ahead:+.0f} s" for each in dated))


@dataclass(frozen=True)
class _Clock:
    of: str
    seconds_ahead: float


def _date_of_store(store: Store) -> list[_Clock]:
    begin = time.time()
    if isinstance(store.objects, S3Objects):
        date = date_of_bucket(store.objects)
        return _told(store.address, date, begin)
    try:
        with tempfile.NamedTemporaryFile(dir=nearest(store.scratch), prefix=".preflight-") as file:
            ahead = Path(file.name).stat().st_mtime - begin
    except OSError:
        return []
    return [_Clock(store.address, ahead)]


def _date_of_tracking(uri: str) -> list[_Clock]:
    begin = time.time()
    try:
        if database(uri) is not None:
            return []
        answer = _asked(uri, "/health")
    except (ValueError, OSError):
        return []
    return _told(redacted(uri), answer.headers.get("Date"), begin)


def _told(of: str, date: str | None, begin: float) -> list[_Clock]:
    """The clock of a server that wrote ``date`` between ``begin`` and now."""
    try:
        return [_Clock(of, parsedate_to_datetime(date or "").timestamp() - (begin + time.time()) / 2)]
    except ValueError:
        return []


def _require_database(path: Path) -> None:
    """Raise OSError, *where: value: rule: remedy*, if the SQLite file ``path`` cannot be made or written to."""
    require_writable(path.parent)
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=READ_SECONDS)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise OSError(f"--tracking-uri {path}: {error}: must be a writable database: free or remove it") from error


def _get(uri: str, path: str) -> Any:
    """The answer of a server to ``path``. Raises OSError if there is none and RuntimeError if it is a refusal."""
    import requests

    where = f"--tracking-uri {redacted(uri)}"
    try:
        answer = _asked(uri, path)
    except requests.RequestException as error:
        rule = "must be an MLflow server that answers: start it or correct the address"
        raise OSError(f"{where}: {_reason(error)}: {rule}") from None
    if answer.status_code in (401, 403):
        remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the server's --allowed-hosts"
        raise RuntimeError(f"{where}: {answer.status_code} {answer.reason}: must let this user in: {remedy}")
    if not answer.ok:
        rule = "must be an MLflow server: start one or correct the address"
        raise RuntimeError(f"{where}: {answer.status_code} {answer.reason} at {path.partition('?')[0]}: {rule}")
    return answer


def _asked(uri: str, path: str) -> Any:
    import requests

    headers = {}
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    return requests.get(
        uri.rstrip("/") + path,
        auth=_credentials(),
        headers=headers,
        timeout=(CONNECT_SECONDS, READ_SECONDS),
        verify=_certificates(),
    )


def _credentials() -> tuple[str, str] | None:
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    user, password = (os.environ.get(name) for name in names)
    if not (user and password) and _CREDENTIALS.expanduser().exists():
        # mlflow takes seconds to import; hardly anybody has this file.
        from mlflow.utils.credentials import read_mlflow_creds

        user, password = read_mlflow_creds()
    return (user, password) if user and password else None


def _certificates() -> bool | str:
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        return False
    return os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True


def _reason(error: Exception) -> str:
    """The innermost of the reasons that wrap each other: all say the same, and the outer ones much more."""
    inner: BaseException | None = error
    while inner is not None and not (isinstance(inner, OSError) and inner.strerror):
        inner = inner.__cause__ or inner.__context__
    return redacted(getattr(inner, "strerror", None) or error)
