"""Which trials open ``val``, and on which seeds. That they are run there: test_trial.py, test_confirmation.py."""

from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.records import Assignment, State, StudyRecords, TrialRecord
from neuroiou_study.stages.val import candidates, confirmations, finals, has_finals, open_confirmations
from tests.stages.tiny import tiny_study


def record(arm: str, number: int, score: float | None, state: State = "complete") -> TrialRecord:
    assignment = Assignment(arm=arm, number=number, values={"finetune.lr": 1e-3 * (number + 1)})
    return TrialRecord(assignment=assignment, state=state, score=score, error=None, seconds=1.0, runs=[])


RECORDS = [
    record("neuroiou", 0, 0.5),
    record("neuroiou", 1, 0.75),
    record("neuroiou", 2, 0.625),
    record("neuroiou", 3, 0.99, "pruned"),
    record("neuroiou", 4, None, "gated"),
    record("neuroiou", 5, float("nan")),
    record("hinge", 0, 0.25),
    record("ce", 0, 0.5),
    record("ce", 1, 0.5),
    record("ce", 2, 0.4),
    record("soft", 0, None, "failed"),
]


def study(confirm: dict[str, Any] | None = None, **changes: Any) -> StudySpec:
    arms: dict[str, Any] = {
        "variants": {"hinge": {"fit_surrogate.inputs": "hinge3"}},
        "controls": {"ce": {"name": "cross_entropy"}, "soft": {"name": "soft_iou"}},
    }
    return tiny_study(**arms, confirm=confirm, **changes)


def names(assignments: list[Assignment]) -> list[str]:
    return [assignment.name for assignment in assignments]


@pytest.mark.parametrize(
    ("top", "learned"),
    [
        (1, ["neuroiou-001", "hinge-000"]),
        (2, ["neuroiou-001", "neuroiou-002", "hinge-000"]),
        (9, ["neuroiou-001", "neuroiou-002", "neuroiou-000", "hinge-000"]),
    ],
)
def test_the_best_of_each_learned_arm_and_the_one_best_of_each_control_are_candidates(
    top: int, learned: list[str]
) -> None:
    chosen = candidates(study({"top": top}), RECORDS)
    assert names([each.assignment for each in chosen]) == [*learned, "ce-000"]  # the first of two equal ones


def test_without_a_confirmation_the_best_of_every_arm_is_the_candidate() -> None:
    assert names([each.assignment for each in candidates(study(), RECORDS)]) == ["neuroiou-001", "hinge-000", "ce-000"]


def test_every_candidate_is_confirmed_on_every_fresh_seed_one_after_the_other() -> None:
    found = confirmations(study({"seeds": 2}, seeds=[3, 7, 5]), RECORDS)
    assert names(found) == [
        "neuroiou-001-seed8",
        "neuroiou-001-seed9",
        "hinge-000-seed8",
        "hinge-000-seed9",
        "ce-000-seed8",
        "ce-000-seed9",
    ]
    assert all(each.values == {"finetune.lr": 1e-3 * (each.number + 1)} for each in found)
    assert confirmations(study(), RECORDS) == [] == confirmations(study({}), [])


def test_a_confirmation_is_the_trial_on_one_fresh_seed_on_val_and_not_gated() -> None:
    spec = study({"seeds": 1}, seeds=[0, 1], evaluate={"batch_size": 3}, gate={"min_r2": 0.5})
    (first, *_) = confirmations(spec, RECORDS)
    (trial,) = first.specs(spec)
    assert (trial.seed, trial.evaluate.split, trial.evaluate.batch_size) == (2, "val", 3)
    assert spec.gate.enabled and not trial.gate.enabled
    searched = RECORDS[1].assignment.specs(spec)[0]
    same = {"seed": 0, "evaluate": searched.evaluate, "gate": searched.gate}
    assert trial.model_copy(update=same) == searched


def test_what_is_recorded_is_not_open_however_it_ended(tmp_path: Path) -> None:
    spec, store = study({"seeds": 2}), FolderStore(tmp_path)
    records = StudyRecords(spec, store)
    for each in RECORDS:
        records.write(each)
    every = confirmations(spec, RECORDS)
    assert open_confirmations(spec, store) == every
    for assignment, state in ((every[0], "complete"), (every[3], "failed")):
        done = {"assignment": assignment, "state": state}
        records.write(RECORDS[0].model_copy(update=done))
    assert open_confirmations(spec, store) == [every[1], every[2], *every[4:]]
    assert len(list(records)) == len(RECORDS)  # those of the search are others
    more = study({"seeds": 3})
    assert len(open_confirmations(more, store)) == len(every) + 3 - 2


def test_a_study_that_confirms_has_no_finals(tmp_path: Path) -> None:
    assert set(finals(study(), RECORDS)) == {"neuroiou", "hinge", "ce"}
    assert finals(study({}), RECORDS) == {}
    store = FolderStore(tmp_path)
    for spec in (study(), study({})):
        for each in RECORDS:
            StudyRecords(spec, store).write(each)
    assert has_finals(study({}), store) and not has_finals(study(), store)
