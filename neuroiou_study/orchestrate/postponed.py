"""Trials that have been put off, because another one is making what they need. Meanwhile they hold no machine."""

from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.records import Assignment
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import must_wait, needed


class PostponedTrials:
    """The trials of ``study`` that wait for a result in ``store``, the longest waiting first."""

    def __init__(self, study: StudySpec, store: Store) -> None:
        self._study, self._store = study, store
        self._waiting: dict[str, tuple[Assignment, list[str]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, assignment: Assignment) -> None:
        """A trial is to wait."""
        self._waiting[assignment.name] = assignment, needed(self._study, assignment)

    def take(self) -> Assignment | None:
        """One that need not wait any more: what it needs is complete, or its maker has given up or died."""
        for name, (assignment, addresses) in self._waiting.items():
            if not must_wait(addresses, self._store):
                del self._waiting[name]
                return assignment
        return None
