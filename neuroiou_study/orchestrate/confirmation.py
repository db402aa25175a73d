"""What is to be confirmed: the winners of a search, each on every fresh seed. Nothing is chosen or stopped here."""

from collections import deque

from neuroiou_study.orchestrate.attendance import Attendance
from neuroiou_study.orchestrate.budget import Spending
from neuroiou_study.orchestrate.postponed import PostponedTrials
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.news import Begun, Ended, Epoch, News, Postponed
from neuroiou_study.stages.records import Assignment, StudyRecords
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import make_record
from neuroiou_study.stages.val import open_confirmations


class Confirmation(Attendance):
    """The second half of a study, with the methods of :class:`~neuroiou_study.orchestrate.search.Search`."""

    def __init__(self, study: StudySpec, store: Store) -> None:
        super().__init__()
        self._study, self._store, self._records = study, store, StudyRecords(study, store)
        self._fresh = deque(open_confirmations(study, store))
        self._postponed, self._live = PostponedTrials(study, store), set[str]()
        self._news: list[News] = []
        self._spending = Spending(study, store)

    def next(self) -> Assignment | None:
        """The next trial to run again, or None while there is none, and when ``is_over``."""
        if self._interruption:
            return None
        assignment = self._postponed.take() or self._fresh_one()
        if assignment is not None:
            self._live.add(assignment.name)
            self._news.append(Begun(assignment))
        return assignment

    def _fresh_one(self) -> Assignment | None:
        if not self._fresh or self._spending.is_over():
            return None
        return self._fresh.popleft()

    def is_over(self) -> bool:
        """Have all trials ended, or those that may begin within the budget?"""
        if self._interruption:
            return True
        return not self._live and (not self._fresh or self._spending.is_over())

    def report(self, assignment: Assignment | None, progress: Progress) -> bool:
        """Hear of an epoch; a confirmation always goes on."""
        self._news.append(Epoch(assignment, progress))
        return False

    def postpone(self, assignment: Assignment) -> None:
        """A confirmation would have to wait for another one; it is handed out again later."""
        self._postponed.put(assignment)
        self._news.append(Postponed(assignment))

    def settle(self, assignment: Assignment, error: str | None = None) -> None:
        """A confirmation has ended; one that left no record has failed."""
        record = self._records.find(assignment)
        if record is None:
            record = make_record(self._study, assignment, self._store, "failed", error or "ended without a record", 0.0)
            self._records.write(record)
        self._live.discard(assignment.name)
        self._spending.write()
        self._news.append(Ended(record))

    def news(self) -> list[News]:
        """What has happened since the last call."""
        news, self._news = self._news, []
        return news
