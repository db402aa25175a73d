"""The search without Ray: what it hands out, what it stops, what a restart takes over."""

from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.orchestrate.budget import Spending
from neuroiou_study.orchestrate.search import Search
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.news import Begun, Ended, Epoch
from neuroiou_study.stages.records import Assignment, StudyRecords, TrialRecord
from tests.studies import TINY

EPOCHS = 3


def make_study(**changes: Any) -> StudySpec:
    return StudySpec.model_validate({**TINY, **changes})


def epoch(number: int, score: float, seed: int = 0, stage: str = "finetune") -> Progress:
    return Progress(stage, seed, number, EPOCHS, {"select_miou": score, "loss": 1.0})


def end(study: StudySpec, store: FolderStore, assignment: Assignment, score: float, state: str = "complete") -> None:
    record = {"state": state, "score": score, "error": None, "seconds": 1.0, "runs": []}
    StudyRecords(study, store).write(TrialRecord.model_validate({"assignment": assignment.model_dump(), **record}))


def play(study: StudySpec, store: FolderStore, search: Search) -> list[Assignment]:
    """Hand out and end everything that is left."""
    played = []
    while (assignment := search.next()) is not None:
        played.append(assignment)
        end(study, store, assignment, score=0.5)
        search.settle(assignment)
    return played


def handed_out(search: Search) -> Assignment:
    assignment = search.next()
    assert assignment is not None
    return assignment


def test_arms_advance_together_and_get_equal_budgets(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    played = play(study, store, Search(study, store))
    assert [assignment.arm for assignment in played] == ["neuroiou", "ce", "soft_iou"] * 3
    assert [assignment.number for assignment in played] == [0] * 3 + [1] * 3 + [2] * 3


def test_first_trial_of_every_arm_is_the_file_itself(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    search = Search(study, store)
    first = {assignment.arm: assignment.values for assignment in (search.next(), search.next()) if assignment}
    assert first["neuroiou"] == {"fit_surrogate.depth": 2, "fit_surrogate.inputs": "prob3", "finetune.lr": 1e-3}
    assert first["ce"] == {"finetune.lr": 1e-3}


def test_a_base_outside_the_ranges_is_not_tried(tmp_path: Path) -> None:
    study = make_study(search={"finetune.lr": {"float": [2e-3, 1e-2]}})
    first = Search(study, FolderStore(tmp_path)).next()
    assert first is not None
    assert 2e-3 <= float(first.values["finetune.lr"]) <= 1e-2


def test_values_stay_inside_their_ranges_and_vary(tmp_path: Path) -> None:
    study, store = make_study(budget={"max_trials": 12}), FolderStore(tmp_path)
    played = [each.values for each in play(study, store, Search(study, store)) if each.arm == "neuroiou"]
    assert all(study.search[name].contains(value) for values in played for name, value in values.items())
    assert {values["fit_surrogate.inputs"] for values in played} == {"prob3", "hinge3"}
    assert len({values["finetune.lr"] for values in played}) == 12


def test_equal_search_seeds_draw_equal_values(tmp_path: Path) -> None:
    def drawn(name: str, seed: int) -> list[dict[str, object]]:
        study, store = make_study(search_seed=seed), FolderStore(tmp_path / name)
        return [dict(each.values) for each in play(study, store, Search(study, store))]

    assert drawn("a", 1) == drawn("b", 1)
    assert drawn("c", 2) != drawn("a", 1)


def test_an_arm_without_ranges_has_one_trial(tmp_path: Path) -> None:
    study, store = make_study(search={"fit_surrogate.depth": {"int": [1, 3]}}), FolderStore(tmp_path)
    played = play(study, store, Search(study, store))
    assert [assignment.arm for assignment in played].count("ce") == 1


def gate_all(study: StudySpec, store: FolderStore, search: Search, number: int) -> list[str]:
    """Hand out everything; the first ``number`` trials of the surrogate's arm are gated, all others complete."""
    names = []
    while (assignment := search.next()) is not None:
        names.append(assignment.name)
        gated = assignment.arm == "neuroiou" and assignment.number < number
        end(study, store, assignment, 0.5, "gated" if gated else "complete")
        search.settle(assignment)
    return names


@pytest.mark.parametrize(("number", "begun"), [(0, 3), (2, 5), (6, 9), (9, 9), (99, 9)])
def test_a_gated_trial_is_replaced_but_not_for_ever(tmp_path: Path, number: int, begun: int) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    names = gate_all(study, store, Search(study, store), number)
    assert [name for name in names if name.startswith("neuroiou")] == [f"neuroiou-{n:03d}" for n in range(begun)]
    assert sum(name.startswith("ce") for name in names) == 3
    assert Search(study, store).next() is None


def test_a_pruned_trial_is_not_replaced(tmp_path: Path) -> None:
    study, store = make_study(controls={}), FolderStore(tmp_path)
    search, names = Search(study, store), []
    while (assignment := search.next()) is not None:
        names.append(assignment.name)
        search.report(assignment, epoch(1, 0.1))
        end(study, store, assignment, 0.1, "pruned")
        search.settle(assignment)
    assert len(names) == 3


def test_a_variant_is_an_arm_of_its_own_with_its_own_values(tmp_path: Path) -> None:
    study, store = make_study(variants={"hinge": {"fit_surrogate.inputs": "hinge6"}}), FolderStore(tmp_path)
    played = play(study, store, Search(study, store))
    assert [assignment.arm for assignment in played] == ["neuroiou", "hinge", "ce", "soft_iou"] * 3
    variant = [assignment for assignment in played if assignment.arm == "hinge"]
    assert variant[0].values == {"fit_surrogate.depth": 2, "finetune.lr": 1e-3}
    assert all("fit_surrogate.inputs" not in assignment.values for assignment in variant)
    assert {assignment.specs(study)[0].fit_surrogate.inputs for assignment in variant} == {"hinge6"}


def test_more_trials_extend_a_study_and_keep_its_history(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first = play(make_study(), store, Search(make_study(), store))
    longer = make_study(budget={"max_trials": 5})
    second = play(longer, store, Search(longer, store))
    assert longer.identity == make_study().identity
    assert {each.number for each in second} == {3, 4}
    assert not {each.name for each in first} & {each.name for each in second}
    assert len({(each.arm, str(each.values)) for each in first + second}) == 15


def test_a_dead_drivers_trials_are_handed_out_again_first(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    dead = Search(study, store)
    begun = [dead.next(), dead.next()]
    taken = Search(study, store)
    assert [taken.next(), taken.next()] == begun
    following = taken.next()
    assert following is not None
    assert following.arm == "soft_iou"


def test_a_trial_that_ended_untold_is_told_and_not_run_again(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    dead = Search(study, store)
    assignment = dead.next()
    assert assignment is not None
    end(study, store, assignment, score=0.7)
    taken = Search(study, store)
    assert next(item for item in taken.news() if isinstance(item, Ended)).record.assignment == assignment
    names = [each.name for each in play(study, store, taken)]
    assert assignment.name not in names
    assert len(names) == 8


def test_a_trial_without_a_record_has_failed(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    search = Search(study, store)
    assignment = search.next()
    assert assignment is not None
    search.settle(assignment, "its process died")
    record = StudyRecords(study, store).find(assignment)
    assert record is not None
    assert (record.state, record.error) == ("failed", "its process died")


@pytest.mark.parametrize("pruner", [{"name": "median", "startup_trials": 2, "warmup_epochs": 0}])
def test_a_trial_below_the_median_is_stopped(tmp_path: Path, pruner: dict[str, Any]) -> None:
    study, store = make_study(pruner=pruner, budget={"max_trials": 6}), FolderStore(tmp_path)
    search = Search(study, store)
    for score in (0.5, 0.6):
        assert not any(report_all(search, score))
        _end_round(study, store, search)
    assignment = _next_of(study, store, search, "neuroiou")
    assert search.report(assignment, epoch(1, 0.1)) is True


def test_no_trial_is_stopped_at_its_last_epoch(tmp_path: Path) -> None:
    pruner = {"name": "median", "startup_trials": 0, "warmup_epochs": 0}
    study, store = make_study(pruner=pruner, budget={"max_trials": 6}), FolderStore(tmp_path)
    search = Search(study, store)
    report_all(search, 0.9)
    _end_round(study, store, search)
    assignment = _next_of(study, store, search, "neuroiou")
    assert search.report(assignment, epoch(EPOCHS, 0.1)) is False


def test_pretraining_is_heard_and_never_stopped(tmp_path: Path) -> None:
    search = Search(make_study(), FolderStore(tmp_path))
    assert search.report(None, epoch(1, 0.0, stage="pretrain")) is False
    assert [type(item) for item in search.news()] == [Epoch]
    assert search.news() == []


def test_seeds_are_steps_of_one_trial(tmp_path: Path) -> None:
    study, store = make_study(seeds=[3, 5]), FolderStore(tmp_path)
    search = Search(study, store)
    assignment = search.next()
    for seed in study.seeds:
        for number in range(1, EPOCHS + 1):
            search.report(assignment, epoch(number, number / 10, seed=seed))
    assert assignment is not None
    steps = search._live[assignment.name].steps
    assert steps == set(range(1, 7))


def test_a_search_is_not_over_while_a_trial_may_still_be_gated(tmp_path: Path) -> None:
    study, store = make_study(controls={}, budget={"max_trials": 1}), FolderStore(tmp_path)
    search = Search(study, store)
    last = handed_out(search)
    assert search.next() is None and not search.is_over()
    end(study, store, last, 0.5, "gated")
    search.settle(last)
    assert handed_out(search).name == "neuroiou-001"


def test_hours_that_are_used_up_start_no_trial(tmp_path: Path) -> None:
    study, store = make_study(budget={"max_trials": 3, "max_hours": 1e-9}), FolderStore(tmp_path)
    assert Search(study, store).next() is None


def spend(study: StudySpec, store: FolderStore, gpu_hours: float) -> None:
    """An attempt at a stage that has ended."""
    seconds = gpu_hours * 3600
    times = {"seconds": seconds, "cpu_seconds": seconds, "gpu_seconds": seconds}
    entry = {"attempt": "a", "address": "pretrain/0", "process": "1 on a", "begun": "2026-01-01T00:00:00+00:00"}
    store.write_json(f"studies/{study.identity}/ledger/a.json", {**entry, **times, "workers": 1, "outcome": "complete"})


@pytest.mark.parametrize(("spent", "begins"), [(0.9, True), (1.1, False)])
def test_gpu_hours_that_are_used_up_start_no_trial(tmp_path: Path, spent: float, begins: bool) -> None:
    study, store = make_study(budget={"max_trials": 3, "max_gpu_hours": 1.0}), FolderStore(tmp_path)
    spend(study, store, spent)
    search = Search(study, store)
    assert (search.next() is not None) == begins
    assert search.is_over() != begins


def test_elapsed_time_survives_a_restart(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    search = Search(study, store)
    play(study, store, search)
    store.write_json(f"studies/{study.identity}/elapsed.json", 100.0)
    assert Spending(study, store).elapsed_seconds >= 100


def report_all(search: Search, score: float) -> list[bool]:
    """Begin a trial of the first arm and report all its epochs."""
    assignment = search.next()
    assert assignment is not None
    assert assignment.arm == "neuroiou"
    return [search.report(assignment, epoch(number, score)) for number in range(1, EPOCHS + 1)]


def _end_round(study: StudySpec, store: FolderStore, search: Search) -> None:
    """End whatever runs, and the other arms' trials of this round."""
    begun = {item.assignment.name: item.assignment for item in search.news() if isinstance(item, Begun)}
    for _ in study.controls:
        assignment = search.next()
        assert assignment is not None
        begun[assignment.name] = assignment
    for assignment in begun.values():
        end(study, store, assignment, score=0.5)
        search.settle(assignment)
    search.news()


def _next_of(study: StudySpec, store: FolderStore, search: Search, arm: str) -> Assignment:
    assignment = search.next()
    assert assignment is not None
    assert assignment.arm == arm
    return assignment
