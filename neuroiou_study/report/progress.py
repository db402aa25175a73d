"""A running study on a terminal: stage, trials, best so far, time left. Silent where nobody is looking."""

import time
from collections import Counter
from math import inf
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.news import Begun, Ended, Epoch, News, Postponed
from neuroiou_study.stages.records import STATES, State, TrialRecord


class ProgressView:
    """Shows the news of a study; use it as a context manager around the run."""

    def __init__(self, study: StudySpec, num_wanted: int, console: Console) -> None:
        self._name, self._num_wanted = study.identity, num_wanted
        self._stage = "starting"
        self._running: set[str] = set()
        self._ended: Counter[State] = Counter()
        self._best: TrialRecord | None = None
        self._begin: float | None = None
        self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._line)
        self._visible = console.is_terminal

    def __enter__(self) -> "ProgressView":
        if self._visible:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._visible:
            self._live.stop()

    def __call__(self, news: News) -> None:
        """Take in one piece of news."""
        match news:
            case Begun(assignment):
                self._begin = self._begin or time.monotonic()
                self._running.add(assignment.name)
            case Epoch(assignment, progress):
                owner = assignment.name if assignment else "shared"
                self._stage = f"{owner} {progress.stage} {progress.epoch}/{progress.epochs}"
            case Postponed(assignment):
                self._running.discard(assignment.name)
            case Ended(record):
                self._running.discard(record.assignment.name)
                self._ended[record.state] += 1
                if record.state == "complete" and _score(record) > _score(self._best):
                    self._best = record

    def _line(self) -> Table:
        states = self._ended
        line = Table.grid(padding=(0, 2))
        line.add_row(
            self._name,
            self._stage,
            f"{states.total() - states['gated']}/{self._num_wanted} trials, {len(self._running)} running",
            ", ".join(f"{states[state]} {state}" for state in STATES[1:] if states[state]),
            self._best_so_far(),
            self._time_left(),
        )
        return line

    def _best_so_far(self) -> str:
        best = self._best
        return f"best {best.score:.4f} ({best.assignment.name})" if best else "no trial complete yet"

    def _time_left(self) -> str:
        if self._begin is None or not self._ended:
            return ""
        per_trial = (time.monotonic() - self._begin) / self._ended.total()
        seconds = per_trial * max(0, self._num_wanted - self._ended.total())
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"


def _score(record: TrialRecord | None) -> float:
    """To compare by; no trial, and one without a score, is worse than any."""
    return -inf if record is None or record.score is None else record.score
