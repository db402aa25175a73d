"""A running study in a log: a line for each event, for a person or as JSON for a program."""

import json
import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from neuroiou_study.report.live.standing import SHARED, Standing
from neuroiou_study.report.tables import in_words
from neuroiou_study.stages.news import Begun, Ended, Epoch, News, Postponed
from neuroiou_study.stages.records import Assignment, TrialRecord

SAY_SECONDS = 10.0
"""A person is told of a trial's epochs so often, and of the last of each stage; *assumed*. A program, of all."""


class EventLog:
    """Prints a line for each piece of news of a study of ``num_wanted`` trials with ``say``."""

    def __init__(self, num_wanted: int, say: Callable[[str], None], *, as_json: bool = False) -> None:
        self._standing, self._say, self._as_json = Standing(num_wanted), say, as_json
        self._said: dict[str, float] = {}

    def __call__(self, news: News) -> None:
        """Take in one piece of news."""
        self._standing.take(news)
        if self._as_json:
            self._say(as_json(_event(news)))
        elif not isinstance(news, Epoch) or self._is_due(news):
            self._say(f"{now()} {_line(news, self._standing)}")

    def _is_due(self, news: Epoch) -> bool:
        owner, moment = _owner(news.assignment), time.monotonic()
        is_last = news.progress.epoch == news.progress.epochs
        is_due = is_last or moment - self._said.get(owner, -math.inf) >= SAY_SECONDS
        if is_due:
            self._said[owner] = moment
        return is_due


def now() -> str:
    """This machine's time, ISO 8601, with its distance from UTC."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def as_json(event: dict[str, Any]) -> str:
    """``event`` in one line, with the time; what is not finite is null."""
    return json.dumps({"time": now(), **event}, allow_nan=False)


def _event(news: News) -> dict[str, Any]:
    match news:
        case Begun(assignment):
            return {"event": "begun", "trial": assignment.name, "arm": assignment.arm, "values": assignment.values}
        case Epoch(assignment, progress):
            place = {"stage": progress.stage, "seed": progress.seed}
            metrics = {name: _finite(value) for name, value in progress.metrics.items()}
            how_far = {"epoch": progress.epoch, "epochs": progress.epochs, "metrics": metrics}
            return {"event": "epoch", "trial": assignment.name if assignment else None, **place, **how_far}
        case Postponed(assignment):
            return {"event": "postponed", "trial": assignment.name}
        case Ended(record):
            came = {"state": record.state, "score": _finite(record.score), "error": record.error}
            return {"event": "ended", "trial": record.assignment.name, **came, "seconds": round(record.seconds, 3)}


def _line(news: News, standing: Standing) -> str:
    match news:
        case Begun(assignment):
            values = in_words(assignment.values)
            return f"{assignment.name} begun" + (f": {values}" if values else "")
        case Epoch(assignment, progress):
            metrics = ", ".join(f"{name} {value:.4g}" for name, value in progress.metrics.items())
            return f"{_owner(assignment)} {progress.stage} {progress.epoch}/{progress.epochs}: {metrics}"
        case Postponed(assignment):
            return f"{assignment.name} postponed: another trial makes what it needs"
        case Ended(record):
            return f"{_ended(record)} ({standing.in_words()})"


def _ended(record: TrialRecord) -> str:
    score = "" if record.score is None else f": select mIoU {record.score:.4f}"
    error = "" if record.error is None else f": {' '.join(record.error.split())}"
    return f"{record.assignment.name} {record.state}{score}{error} in {record.seconds:.0f} s"


def _owner(assignment: Assignment | None) -> str:
    return assignment.name if assignment else SHARED


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
