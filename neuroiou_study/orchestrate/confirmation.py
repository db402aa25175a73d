"""What is to be confirmed: the winners of a search, each on every fresh seed. Nothing is chosen or stopped here."""

from collections import deque

from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.news import Begun, Ended, Epoch, News
from neuroiou_study.stages.records import Assignment, StudyRecords
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import make_record
from neuroiou_study.stages.val import open_confirmations


class Confirmation:
    """The second half of a study, with the methods of :class:`~neuroiou_study.orchestrate.search.Search`."""

    def __init__(self, study: StudySpec, store: Store) -> None:
        self._study, self._store, self._records = study, store, StudyRecords(study, store)
        self._waiting = deque(open_confirmations(study, store))
        self._news: list[News] = []

    def next(self) -> Assignment | None:
        """The next trial to run again, or None when all are."""
        if not self._waiting:
            return None
        assignment = self._waiting.popleft()
        self._news.append(Begun(assignment))
        return assignment

    def report(self, assignment: Assignment | None, progress: Progress) -> bool:
        """Hear of an epoch; a confirmation always goes on."""
        self._news.append(Epoch(assignment, progress))
        return False

    def settle(self, assignment: Assignment, error: str | None = None) -> None:
        """A confirmation has ended; one that left no record has failed."""
        record = self._records.find(assignment)
        if record is None:
            record = make_record(self._study, assignment, self._store, "failed", error or "ended without a record", 0.0)
            self._records.write(record)
        self._news.append(Ended(record))

    def news(self) -> list[News]:
        """What has happened since the last call."""
        news, self._news = self._news, []
        return news
