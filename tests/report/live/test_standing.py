"""What is known of a running study."""

import pytest

from neuroiou_study.report.live.standing import SHARED, Standing
from neuroiou_study.stages.news import Begun, News, Postponed
from tests.report.live.news import NEWS, ended, trial


def after(*news: News) -> Standing:
    standing = Standing(9)
    for item in news:
        standing.take(item)
    return standing


def test_it_says_trials_best_and_time_left() -> None:
    words = after(*NEWS).in_words()
    assert words.startswith("2/9 trials, 1 running, 1 pruned · best 0.4321 (ce-000) · about ")
    assert words.endswith(" left")


def test_a_shared_stage_comes_before_the_first_trial() -> None:
    first, begun, *_ = NEWS
    assert list(after(first).running) == [SHARED] and "0 running · no trial complete yet" in after(first).in_words()
    assert list(after(first, begun).running) == ["ce-000"]


def test_a_postponed_trial_does_not_run() -> None:
    assert "0 running" in after(*NEWS, Postponed(trial(2))).in_words()
    assert "1 running" in after(*NEWS, Postponed(trial(2)), Begun(trial(2))).in_words()


def test_the_best_is_the_highest_score_of_a_complete_trial_and_the_earlier_of_equals() -> None:
    more = (ended(3, "complete", None), ended(4, "complete", float("nan")), ended(5, "complete", 0.2))
    equal = (*more, ended(7, "complete", 0.4321))
    assert [each.assignment.name for each in after(*NEWS, *equal).complete] == ["ce-000", "ce-007", "ce-005"]
    assert "best 0.5000 (ce-006)" in after(*more, ended(6, "complete", 0.5), *NEWS).in_words()


def test_time_left_counts_what_is_to_be_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([100.0, 130.0])
    monkeypatch.setattr(f"{Standing.__module__}.time.monotonic", lambda: next(moments))
    # 3 trials in 30 s, one of them gated, which another replaces: 9 - 2 are left.
    standing = after(Begun(trial(0)), ended(0, "complete", 0.1), ended(1, "gated", None), ended(2, "failed", None))
    assert standing.seconds_left == pytest.approx(70.0)
