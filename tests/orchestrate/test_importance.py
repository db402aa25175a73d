"""Importance of searched values: what decides the score is named first, and few trials say nothing."""

from neuroiou_study.orchestrate.importance import MIN_TRIALS, importances
from neuroiou_study.spec import Scalar, StudySpec
from neuroiou_study.stages.records import Assignment, SeedRun, TrialRecord
from tests.studies import TINY


def record(number: int) -> TrialRecord:
    """Its score is its learning rate's; depth changes nothing."""
    lr = 1e-4 * 10 ** (2 * ((number * 7) % 16) / 15)
    values: dict[str, Scalar] = {
        "fit_surrogate.depth": 1 + number % 3,
        "fit_surrogate.inputs": "prob3",
        "finetune.lr": lr,
    }
    run = SeedRun(seed=0, stages={}, history=[])
    assignment = Assignment(arm="neuroiou", number=number, values=values)
    return TrialRecord(assignment=assignment, state="complete", score=lr, error=None, seconds=1.0, runs=[run])


def test_what_decides_is_first() -> None:
    study = StudySpec.model_validate(TINY)
    records = [record(number) for number in range(16)]
    found = importances(study, records)
    assert list(found) == ["neuroiou"]
    assert next(iter(found["neuroiou"])) == "finetune.lr"
    assert found["neuroiou"]["finetune.lr"] > 0.8
    assert importances(study, records) == found


def test_few_or_equal_trials_say_nothing() -> None:
    study = StudySpec.model_validate(TINY)
    assert importances(study, [record(number) for number in range(MIN_TRIALS - 1)]) == {}
    equal = [record(number).model_copy(update={"score": 0.5}) for number in range(MIN_TRIALS)]
    assert importances(study, equal) == {}
