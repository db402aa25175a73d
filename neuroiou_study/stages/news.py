"""What a running study tells those who watch it: the tracker, the terminal."""

from collections.abc import Callable
from dataclasses import dataclass

from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.records import Assignment, TrialRecord


@dataclass(frozen=True)
class Begun:
    """A trial has been handed to a worker."""

    assignment: Assignment


@dataclass(frozen=True)
class Epoch:
    """An epoch has ended, of a trial or (no assignment) of a stage that all trials share."""

    assignment: Assignment | None
    progress: Progress


@dataclass(frozen=True)
class Postponed:
    """A trial has left its worker, to go on when another one has made what it needs."""

    assignment: Assignment


@dataclass(frozen=True)
class Ended:
    """A trial's record is in the store."""

    record: TrialRecord


News = Begun | Epoch | Postponed | Ended
Observer = Callable[[News], None]
