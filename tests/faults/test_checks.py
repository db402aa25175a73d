"""The checks of the chaos run see what they look for."""

from dataclasses import replace
from pathlib import Path

import pytest

from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.manifest import Cost
from tests.faults import checks
from tests.faults.study_under_test import Outcome, StudyUnderTest

ADDRESS = "finetune/0123456789abcdef"
OUTCOME = Outcome({"ce-000": "0.5"}, {ADDRESS: {"model": "ab12"}}, {"ce-000": {"loss": [(1, 0.5), (2, 0.25)]}})


def test_an_equal_outcome_is_right() -> None:
    assert list(checks.same_outcome(OUTCOME, replace(OUTCOME))) == []


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (replace(OUTCOME, trials={}), "trial ce-000: missing"),
        (replace(OUTCOME, trials={**OUTCOME.trials, "ce-001": "0.5"}), "trial ce-001: must not be there"),
        (replace(OUTCOME, files={ADDRESS: {"model": "ab13"}}), "must be {'model': 'ab12'}"),
        (replace(OUTCOME, shown={"ce-000": {"loss": [(1, 0.5), (1, 0.5), (2, 0.25)]}}), "MLflow run ce-000"),
        (replace(OUTCOME, shown={**OUTCOME.shown, "ce-000 again": {}}), "ce-000 again: must not be there"),
    ],
)
def test_a_difference_is_named(found: Outcome, problem: str) -> None:
    [text] = checks.same_outcome(OUTCOME, found)
    assert problem in text


@pytest.fixture
def study(tmp_path: Path) -> StudyUnderTest:
    """A study whose store has one result, made by the attempt ``a1``."""
    made = StudyUnderTest(tmp_path / "study", str(tmp_path / "runs"), 1, None, {})
    made.write()
    complete(made, "a1")
    return made


def complete(study: StudyUnderTest, attempt: str) -> None:
    cost = Cost(attempt=attempt, seconds=1.0, cpu_seconds=1.0, gpu_seconds=0.0)
    (study.store.workspace(ADDRESS) / "model").write_text("weights")
    study.store.commit(ADDRESS, {}, cost)
    enter(study, attempt, "complete")


def enter(study: StudyUnderTest, attempt: str, outcome: str, seconds: float = 1.0) -> None:
    took = {"seconds": seconds, "cpu_seconds": seconds, "gpu_seconds": 0.0}
    entry = {"attempt": attempt, "address": ADDRESS, "process": "1", "begun": "now", "workers": 1, "outcome": outcome}
    study.store.write_json(f"studies/{study.spec.identity}/ledger/{attempt}.json", {**entry, **took})


def test_a_result_that_is_written_again_is_named(study: StudyUnderTest) -> None:
    before = checks.stamps(study.store)
    assert list(before) == [ADDRESS]
    assert list(checks.not_written_again(before, checks.stamps(study.store))) == []
    store = study.store
    assert isinstance(store, FolderStore)
    manifest = store.root / "stages" / ADDRESS / "manifest.json"
    manifest.write_text(manifest.read_text())
    [problem] = checks.not_written_again(before, checks.stamps(store))
    assert ADDRESS in problem


def test_a_lease_that_is_held_and_half_a_result_are_named(study: StudyUnderTest) -> None:
    assert list(checks.nothing_held(study)) == []
    study.store.workspace("evaluate/0123456789abcdef")
    lease = study.store.try_lease(ADDRESS)
    assert lease is not None
    with lease:
        held, half = checks.nothing_held(study)
    assert f"lease {ADDRESS}: still held by process" in held
    assert "0123456789abcdef.partial: left behind" in half


def test_the_ledger_of_one_attempt_is_right(study: StudyUnderTest) -> None:
    assert list(checks.ledger_is_right(study, 0)) == []


def test_an_attempt_in_vain_is_named_unless_it_was_killed(study: StudyUnderTest) -> None:
    enter(study, "a0", "running")
    [problem] = checks.ledger_is_right(study, 0)
    assert f"{ADDRESS} (running): begun in vain" in problem
    assert list(checks.ledger_is_right(study, 1)) == []


def test_a_ledger_that_differs_from_the_manifest_is_named(study: StudyUnderTest) -> None:
    enter(study, "a1", "complete", seconds=2.0)
    [problem] = checks.ledger_is_right(study, 0)
    assert f"ledger {ADDRESS}: " in problem
