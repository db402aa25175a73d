"""News as a running study has them."""

from collections.abc import Sequence

from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.news import Begun, Ended, Epoch, News
from neuroiou_study.stages.records import Assignment, State, TrialRecord


def trial(number: int) -> Assignment:
    return Assignment(arm="ce", number=number, values={"finetune.lr": 0.00123456})


def ended(number: int, state: State, score: float | None, error: str | None = None) -> Ended:
    return Ended(TrialRecord(assignment=trial(number), state=state, score=score, error=error, seconds=1.2, runs=[]))


NEWS: Sequence[News] = (
    Epoch(None, Progress("pretrain", 0, 2, 2, {"loss": 0.5})),
    Begun(trial(0)),
    Begun(trial(1)),
    Begun(trial(2)),
    Epoch(trial(0), Progress("finetune", 0, 1, 3, {"select_miou": 0.3})),
    ended(0, "complete", 0.4321),
    ended(1, "pruned", 0.9),
)
