"""What a person at a terminal sees while a study runs."""

from io import StringIO

from rich.console import Console

from neuroiou_study.report.live.live_view import BARS, BEST, LiveView
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.ledger import Total
from neuroiou_study.stages.news import Begun, News
from tests.report.live.news import NEWS, ended, trial
from tests.studies import TINY

COST = Total(attempts=1, seconds=90, cpu_seconds=7200, gpu_seconds=0)


def shown(*news: News) -> str:
    """The last thing that was drawn."""
    output = StringIO()
    console = Console(file=output, force_terminal=True, width=120, height=40, no_color=True)
    study = StudySpec.model_validate(TINY)
    with LiveView(study, 9, console, lambda: COST, "MLflow http://example:5000") as view:
        output.truncate(0)
        for item in news:
            view(item)
    return output.getvalue()


def test_it_shows_stages_best_trials_cost_and_where_mlflow_is() -> None:
    text = shown(*NEWS[:-2])
    for part in ("Study tiny-", "MLflow http://example:5000", "ce-000", "finetune", "1/3  select_miou 0.3000", "━"):
        assert part in text
    assert "ce-002" in text and "starting" in text
    text = shown(*NEWS)
    for part in (
        "Best of 1 complete trials",
        "0.4321",
        "finetune.lr 0.00123",
        "2/9 trials, 1 running",
        "2.00 h of pro",
    ):
        assert part in text


def test_a_large_study_fits_the_screen() -> None:
    complete = [ended(number, "complete", number / 1000) for number in range(50)]
    text = shown(*complete, *(Begun(trial(number)) for number in range(100, 150)))
    assert f"… and {50 - BARS} more" in text
    assert [f"ce-{number:03d}" in text for number in (49, 50 - BEST, 49 - BEST)] == [True, True, False]
