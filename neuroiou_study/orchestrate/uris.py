"""Addresses of servers as users give them: what they may be, and how they are shown without their secrets."""

import os
import re
from pathlib import Path

SQLITE = "sqlite:///"
_SECRETS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD"),
)
_SHORTEST_SECRET = 4
"""Characters; what is shorter would be found in the middle of words."""


def redacted(text: object) -> str:
    """``text`` in one line, without the names and passwords of any uri in it."""
    without_owner = re.sub(r"//[^/\s]+@", "//***@", " ".join(str(text).split()))
    return re.sub(r"(?i)([?&](?:password|passwd|token|secret)=)[^&\s]+", r"\1***", without_owner)


def public(uri: str) -> str:
    """``uri`` without the name and password of its owner, as anybody may open it."""
    return redacted(re.sub(r"//[^/\s]+@", "//", uri))


def without_secrets(text: object) -> str:
    """``text`` as :func:`redacted` leaves it, and without what the environment's secret variables hold."""
    shown = redacted(text)
    for value in (os.environ.get(name, "") for name in _SECRETS):
        shown = shown.replace(value, "***") if len(value) >= _SHORTEST_SECRET else shown
    return shown


def database(uri: str) -> Path | None:
    """The file of a SQLite uri, None for a server's. Raises ValueError for what MLflow would not serve."""
    if uri.startswith(("http://", "https://")):
        return None
    path = Path(uri.removeprefix(SQLITE).partition("?")[0])
    if not uri.startswith(SQLITE) or not path.is_absolute():
        rule = "must be http(s)://… or sqlite:////absolute/path/mlflow.db (MLflow has no file stores any more)"
        raise ValueError(f"--tracking-uri: {redacted(uri)}: {rule}: change it")
    return path
