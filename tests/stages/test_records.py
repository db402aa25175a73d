from math import nan
from pathlib import Path

import pytest

from neuroiou_study.spec import Scalar, StudySpec
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.records import Assignment, SeedRun, State, StudyRecords, TrialRecord, best_of, driver_lease
from tests.stages.tiny import tiny_study

STUDY = tiny_study(seeds=[3, 4])


def record(arm: str, number: int, score: float | None, state: State = "complete") -> TrialRecord:
    values: dict[str, Scalar] = {"finetune.lr": 1e-3, "fit_surrogate.inputs": "prob3", "fit_surrogate.monotone": True}
    runs = [SeedRun(seed=3, stages={"pretrain": "pretrain/01"}, history=[{"epoch": 1, "select_miou": 0.25}])]
    assignment = Assignment(arm=arm, number=number, values=values)
    return TrialRecord(assignment=assignment, state=state, score=score, error=None, seconds=1.5, runs=runs)


@pytest.fixture
def records(tmp_path: Path) -> StudyRecords:
    return StudyRecords(STUDY, FolderStore(tmp_path / "store"))


def test_a_record_is_read_as_it_was_written(records: StudyRecords) -> None:
    written = record("ce", 7, 0.1 + 0.2)
    assert records.find(written.assignment) is None
    records.write(written)
    assert records.find(written.assignment) == written == next(iter(records))
    assert records.store.objects.names(f"{records.folder}/trials") == ["ce-007.json"]


def test_a_record_may_lack_numbers(records: StudyRecords) -> None:
    records.write(record("ce", 0, None))
    run = SeedRun(seed=3, stages={}, history=[{"epoch": 1, "select_miou": nan}])
    records.write(record("ce", 1, nan).model_copy(update={"runs": [run]}))
    first, second = records
    assert first.score is None and second.score != second.score
    assert second.runs[0].history[0]["select_miou"] != second.runs[0].history[0]["select_miou"]


def test_a_record_of_the_same_trial_is_replaced(records: StudyRecords) -> None:
    records.write(record("ce", 0, 0.1, "pruned"))
    records.write(record("ce", 0, 0.2))
    assert [found.score for found in records] == [0.2]


def test_records_come_by_arm_and_number(records: StudyRecords) -> None:
    assert list(records) == []
    for arm, number in (("neuroiou", 2), ("ce", 1000), ("ce", 999), ("neuroiou", 0)):
        records.write(record(arm, number, 0.5))
    assert [found.assignment.name for found in records] == ["ce-999", "ce-1000", "neuroiou-000", "neuroiou-002"]


def test_a_study_that_begins_is_written_down(records: StudyRecords) -> None:
    assert records.store.objects.names(records.folder) == []
    records.begin()
    document = records.store.read_json(f"{records.folder}/study.json")
    assert StudySpec.model_validate(document) == STUDY
    assert records.folder == f"studies/{STUDY.identity}" and list(records) == []


def test_studies_do_not_share_records_but_a_grown_one_finds_its_own(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    StudyRecords(STUDY, store).write(record("ce", 0, 0.5))
    assert list(StudyRecords(tiny_study(), store)) == []
    grown = tiny_study(seeds=[3, 4], budget={"max_trials": 99})
    assert len(list(StudyRecords(grown, store))) == 1 and driver_lease(grown) == driver_lease(STUDY)
    assert driver_lease(STUDY) != driver_lease(tiny_study())


def test_an_assignment_is_a_trial_for_each_seed() -> None:
    specs = Assignment(arm="ce", number=0, values={"finetune.lr": 0.25}).specs(STUDY)
    assert [(spec.seed, spec.finetune.lr, spec.finetune.loss.name) for spec in specs] == [
        (3, 0.25, "cross_entropy"),
        (4, 0.25, "cross_entropy"),
    ]


@pytest.mark.parametrize(
    ("scores", "winner"),
    [([0.1, 0.3, 0.2], 1), ([0.3, 0.3], 0), ([nan, 0.1], 1), ([0.1, nan], 0), ([None, 0.0], 1), ([nan, None], None)],
)
def test_the_best_is_the_first_with_the_highest_score(scores: list[float | None], winner: int | None) -> None:
    best = best_of([record("ce", number, score) for number, score in enumerate(scores)], "ce")
    assert (best and best.assignment.number) == winner


def test_only_complete_trials_of_the_arm_can_be_best() -> None:
    others = [record("ce", 0, 0.9, "pruned"), record("ce", 1, 0.9, "failed"), record("soft", 2, 0.9)]
    assert best_of(others, "ce") is None
    best = best_of([*others, record("ce", 3, 0.1)], "ce")
    assert best is not None and best.assignment.number == 3
