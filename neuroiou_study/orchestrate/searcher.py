"""The search as Ray Tune sees it."""

from typing import Any

import ray
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from neuroiou_study.stages.objects import is_outage
from neuroiou_study.stages.records import Assignment

POSTPONED, UNAVAILABLE = "postponed", "unavailable"
"""How a trial may leave its worker without a record: to wait for another one, or because the store is away."""


class StudySearcher(Searcher):
    """An agenda, which is an actor, as a searcher of Ray Tune."""

    def __init__(self, agenda: Any) -> None:
        super().__init__(metric="score", mode="max")
        self._agenda = agenda
        self._live: dict[str, Assignment] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """Called when a trial fits the cluster: its configuration, None to be asked again, FINISHED at the end.

        Tune asks again at its next event, at least ten times a second, or once a second if nothing runs.
        """
        assignment = self._asked(self._agenda.next.remote())
        if assignment is None:
            return Searcher.FINISHED if ray.get(self._agenda.is_over.remote()) else None
        self._live[trial_id] = assignment
        return {"assignment": assignment.model_dump()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Called for every ``tune.report``; epochs go to the agenda directly."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Called once when a trial has ended, or has left because it would have to wait or the store is away."""
        assignment, state = self._live.pop(trial_id), None if error or result is None else result["state"]
        if state == UNAVAILABLE:
            assert result is not None
            ray.get(self._agenda.interrupt.remote(result["error"]))
        elif state == POSTPONED:
            self._asked(self._agenda.postpone.remote(assignment))
        else:
            reason = "its process died or raised; see Ray's log" if error else None
            self._asked(self._agenda.settle.remote(assignment, reason))

    def _asked(self, question: Any) -> Any:
        """The agenda's answer; None, and an interruption, where its store is away: Tune may swallow what is raised."""
        try:
            return ray.get(question)
        except OSError as error:
            cause = getattr(error, "cause", error)
            if not is_outage(cause):
                raise
            ray.get(self._agenda.interrupt.remote(str(cause)))
            return None

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the agenda keeps itself."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: a fresh searcher over the same study continues it."""


class InOrder(FIFOScheduler):
    """Trials start in the order in which they were suggested, which Tune does where a scheduler has no choice.

    Ray's own FIFOScheduler looks through all trials there have been, at each of Tune's steps.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Called at each step, before the trials that are pending start in their order."""
