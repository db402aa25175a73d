"""What a person sees while a study runs, and that nobody else sees anything."""

from io import StringIO

from rich.console import Console

from neuroiou_study.report.progress import ProgressView
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.news import Begun, Ended, Epoch, News, Postponed
from neuroiou_study.stages.records import Assignment, State, TrialRecord
from tests.studies import TINY


def trial(number: int) -> Assignment:
    return Assignment(arm="ce", number=number, values={})


def ended(number: int, state: State, score: float | None) -> Ended:
    return Ended(TrialRecord(assignment=trial(number), state=state, score=score, error=None, seconds=1.0, runs=[]))


NEWS: tuple[News, ...] = (
    Epoch(None, Progress("pretrain", 0, 2, 2, {})),
    Begun(trial(0)),
    Begun(trial(1)),
    Begun(trial(2)),
    Epoch(trial(0), Progress("finetune", 0, 1, 3, {"select_miou": 0.3})),
    ended(0, "complete", 0.4321),
    ended(1, "pruned", 0.9),
)


def shown(*news: News, terminal: bool) -> str:
    output = StringIO()
    console = Console(file=output, force_terminal=terminal, width=200, no_color=True)
    with ProgressView(StudySpec.model_validate(TINY), 9, console) as view:
        for item in news:
            view(item)
    return output.getvalue()


def test_line_names_stage_trials_best_and_time_left() -> None:
    line = shown(*NEWS, terminal=True)
    for part in ("2/9 trials, 1 running", "1 pruned", "best 0.4321 (ce-000)", "left", "ce-000 finetune 1/3"):
        assert part in line


def test_a_postponed_trial_does_not_run() -> None:
    assert "2/9 trials, 0 running" in shown(*NEWS, Postponed(trial(2)), terminal=True)
    assert "2/9 trials, 1 running" in shown(*NEWS, Postponed(trial(2)), Begun(trial(2)), terminal=True)


def test_the_best_is_the_highest_score_of_a_complete_trial() -> None:
    more = (ended(3, "complete", None), ended(4, "complete", float("nan")), ended(5, "complete", 0.2))
    assert "best 0.4321 (ce-000)" in shown(*NEWS, *more, terminal=True)
    assert "best 0.5000 (ce-006)" in shown(*more, ended(6, "complete", 0.5), *NEWS, terminal=True)


def test_shared_stage_is_shown_before_the_first_trial() -> None:
    line = shown(NEWS[0], terminal=True)
    assert "shared pretrain 2/2" in line
    assert "no trial complete yet" in line


def test_quiet_where_nobody_is_looking() -> None:
    assert shown(*NEWS, terminal=False) == ""
