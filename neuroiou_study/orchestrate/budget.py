"""How much of a study's budget is spent, over all of its restarts."""

import time

from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.ledger import Ledger
from neuroiou_study.stages.records import study_folder
from neuroiou_study.stages.store import Store

LOOK_SECONDS = 10.0
"""How long the sum of the ledger is believed; its entries are not newer either."""


class Spending:
    """The hours of ``study``: of its driver, by this process's clock, and of GPUs, by its ledger in ``store``."""

    def __init__(self, study: StudySpec, store: Store) -> None:
        self._budget, self._store = study.budget, store
        self._name = f"{study_folder(study)}/elapsed.json"
        self._begin, self._before = time.monotonic(), float(store.read_json(self._name) or 0.0)
        self._ledger, self._gpu_seconds, self._looked = Ledger(study.identity, store), 0.0, float("-inf")

    @property
    def elapsed_seconds(self) -> float:
        """How long the study has run, restarts included and downtime not."""
        return self._before + time.monotonic() - self._begin

    def write(self) -> None:
        """Keep the hours for the next restart."""
        self._store.write_json(self._name, self.elapsed_seconds)

    def is_over(self) -> bool:
        """Is the budget of hours spent, so that nothing more may begin?"""
        hours, gpu_hours = self._budget.max_hours, self._budget.max_gpu_hours
        if hours is not None and self.elapsed_seconds > hours * 3600:
            return True
        return gpu_hours is not None and self._spent_gpu_seconds() > gpu_hours * 3600

    def _spent_gpu_seconds(self) -> float:
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS:
            self._gpu_seconds, self._looked = self._ledger.total().gpu_seconds, now
        return self._gpu_seconds
