"""What the trials that have ended say of those to come: how many are stopped early, and how many are gated."""

from collections import Counter
from collections.abc import Sequence

from neuroiou_study.report.bounds import ONCE, Bounds
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.records import TrialRecord


class EndedTrials:
    """The records of a study's search, counted."""

    def __init__(self, study: StudySpec, records: Sequence[TrialRecord]) -> None:
        self._states = Counter((record.assignment.arm, record.state == "gated") for record in records)
        self._run, self._whole = Counter[str](), Counter[str]()
        for record in records:
            if record.state in ("complete", "pruned"):
                self._run[record.assignment.arm] += sum(len(run.history) for run in record.runs)
                self._whole[record.assignment.arm] += sum(s.finetune.epochs for s in record.assignment.specs(study))

    def num_trained(self, arm: str) -> int:
        """Those that count: complete, pruned or failed."""
        return self._states[arm, False]

    def num_gated(self, arm: str) -> int:
        """Those whose place another takes."""
        return self._states[arm, True]

    def epochs_fraction(self, arm: str) -> float:
        """The share of their fine-tuning epochs that the arm's trials have run, or those of all arms; 1 if none has."""
        if self._whole[arm]:
            return self._run[arm] / self._whole[arm]
        return self._run.total() / self._whole.total() if self._whole.total() else 1.0

    def times(self, arm: str, stage: str, is_own: bool) -> Bounds:
        """How often a trial to come runs ``stage``, in whole ones; ``is_own``: it makes it for itself alone."""
        if stage == "finetune":
            return Bounds(self.epochs_fraction(arm), 1.0)
        if stage == "evaluate" or not is_own:
            return ONCE
        return ONCE * (1 + self.num_gated(arm) / max(1, self.num_trained(arm)))
