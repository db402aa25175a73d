"""Where a running study stands, as its news say it."""

import time
from bisect import insort
from collections import Counter
from math import isnan

from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.news import Begun, Ended, Epoch, News, Postponed
from neuroiou_study.stages.records import State, TrialRecord

SHARED = "shared"
"""Whose progress that of stages is that all trials share."""


class Standing:
    """What is known of a study of ``num_wanted`` trials; :meth:`take` takes in a piece of news."""

    def __init__(self, num_wanted: int) -> None:
        self.num_wanted = num_wanted
        self.running: dict[str, Progress | None] = {}
        """Trial → its last epoch."""
        self.ended: Counter[State] = Counter()
        self.complete: list[TrialRecord] = []
        """Those with a score, the best first and the earlier first of equals."""
        self._begin: float | None = None

    def take(self, news: News) -> None:
        """Take in ``news``."""
        match news:
            case Begun(assignment):
                self._begin = self._begin or time.monotonic()
                self.running.pop(SHARED, None)
                self.running.setdefault(assignment.name, None)
            case Epoch(assignment, progress):
                self.running[assignment.name if assignment else SHARED] = progress
            case Postponed(assignment):
                self.running.pop(assignment.name, None)
            case Ended(record):
                self.running.pop(record.assignment.name, None)
                self._end(record)

    def _end(self, record: TrialRecord) -> None:
        self.ended[record.state] += 1
        if record.state == "complete" and record.score is not None and not isnan(record.score):
            insort(self.complete, record, key=lambda each: -(each.score or 0.0))

    @property
    def num_trained(self) -> int:
        """Trials that have ended and count: a gated one has its place taken by another."""
        return self.ended.total() - self.ended["gated"]

    @property
    def seconds_left(self) -> float | None:
        """If all trials take as long as those until now; None before the first has ended."""
        if self._begin is None or not self.ended:
            return None
        per_trial = (time.monotonic() - self._begin) / self.ended.total()
        return per_trial * max(0, self.num_wanted - self.num_trained)

    def in_words(self) -> str:
        """``5/24 trials, 2 running, 1 pruned · best 0.4321 (ce-000) · about 3 min left``."""
        states = [f"{count} {state}" for state, count in self.ended.items() if state != "complete" and count]
        num_running = len(self.running.keys() - {SHARED})
        counts = ", ".join([f"{self.num_trained}/{self.num_wanted} trials", f"{num_running} running", *states])
        return " · ".join(part for part in (counts, self._best(), _left(self.seconds_left)) if part)

    def _best(self) -> str:
        if not self.complete:
            return "no trial complete yet"
        return f"best {self.complete[0].score:.4f} ({self.complete[0].assignment.name})"


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
