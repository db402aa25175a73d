"""The search of a study that screens: which surrogates its trials have, and what a restart takes over."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from neuroiou_study.orchestrate.screened import enqueue_screened
from neuroiou_study.orchestrate.search import Search
from neuroiou_study.orchestrate.study import run_here
from neuroiou_study.report.status import stage_rows
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.news import Epoch, News
from neuroiou_study.stages.records import Assignment, StudyRecords
from neuroiou_study.stages.screen import find_screening
from tests.orchestrate.test_search import end, make_study, play
from tests.studies import TINY

SCREEN: dict[str, Any] = {"surrogates": 4, "top": 2}
DEPTHS = (3, 1, 2)


def screened_study(**changes: Any) -> StudySpec:
    search = {name: TINY["search"][name] for name in ("fit_surrogate.depth", "finetune.lr")}
    return make_study(**{"search": search, "screen": SCREEN, "budget": {"max_trials": 5}, **changes})


def record_screening(study: StudySpec, store: FolderStore, passed: int = 3) -> None:
    """As if three surrogates had been screened, with the depths of :data:`DEPTHS` from the best on."""
    StudyRecords(study, store).begin()
    surrogates = [
        {
            "values": {"fit_surrogate.depth": depth},
            "passed": place < passed,
            "missed": [],
            "measure": 0.9 - place / 10,
            "fidelity": [{"gradient_cosine": 0.9 - place / 10}],
        }
        for place, depth in enumerate(DEPTHS)
    ]
    document = {"arm": "neuroiou", "measure": "gradient_cosine", "seeds": [0], "surrogates": surrogates}
    store.write_json(f"studies/{study.identity}/screening/neuroiou.json", document)


def depths(played: list[Assignment]) -> list[object]:
    return [each.values["fit_surrogate.depth"] for each in played if each.arm == "neuroiou"]


def test_trials_go_round_the_surrogates_that_were_sent(tmp_path: Path) -> None:
    study, store = screened_study(), FolderStore(tmp_path)
    record_screening(study, store)
    played = play(study, store, Search(study, store))
    assert depths(played) == [3, 1, 3, 1, 3]
    rates = [each.values["finetune.lr"] for each in played if each.arm == "neuroiou"]
    assert rates[0] == 1e-3 and len(set(rates)) == 5  # the file's own first, then drawn ones


def test_surrogates_that_missed_the_gate_are_not_sent(tmp_path: Path) -> None:
    study, store = screened_study(), FolderStore(tmp_path)
    record_screening(study, store, passed=1)
    assert depths(play(study, store, Search(study, store))) == [3] * 5


def test_more_trials_go_on_with_the_next_surrogate(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    study = screened_study(screen={"surrogates": 4}, budget={"max_trials": 2})
    record_screening(study, store)
    assert depths(play(study, store, Search(study, store))) == [3, 1]
    longer = screened_study(screen={"surrogates": 4}, budget={"max_trials": 4})
    assert longer.identity == study.identity
    assert depths(play(longer, store, Search(longer, store))) == [2, 3]


def test_controls_are_searched_as_ever(tmp_path: Path) -> None:
    study, store = screened_study(), FolderStore(tmp_path)
    record_screening(study, store)
    played = [each for each in play(study, store, Search(study, store)) if each.arm == "ce"]
    plain = make_study(search=study.model_dump()["search"], budget={"max_trials": 5})
    expected = play(plain, FolderStore(tmp_path / "plain"), Search(plain, FolderStore(tmp_path / "plain")))
    assert [each.values for each in played] == [each.values for each in expected if each.arm == "ce"]


def test_a_restart_hands_out_what_was_running_and_enqueues_nothing_twice(tmp_path: Path) -> None:
    study, store = screened_study(controls={}), FolderStore(tmp_path)
    record_screening(study, store)
    dead = Search(study, store)
    first, running = dead.next(), dead.next()
    assert first is not None and running is not None
    end(study, store, first, 0.5)
    dead.settle(first)
    taken = play(study, store, Search(study, store))
    assert taken[0] == running
    assert [each.number for each in taken] == [1, 2, 3, 4]
    assert depths(taken) == [1, 3, 1, 3]


def test_a_trial_that_a_dead_driver_enqueued_is_the_next(tmp_path: Path) -> None:
    study, store = screened_study(controls={}), FolderStore(tmp_path)
    record_screening(study, store)
    search = Search(study, store)
    enqueue_screened(study, store, "neuroiou", search._arms["neuroiou"].study)  # and then it died
    taken = Search(study, store)
    assert depths(play(study, store, taken)) == [3, 1, 3, 1, 3]
    assert len(taken._arms["neuroiou"].study.get_trials()) == 5  # none is left over


def test_a_search_before_its_screening_is_refused(tmp_path: Path) -> None:
    study, store = screened_study(), FolderStore(tmp_path)
    with pytest.raises(RuntimeError, match=r"neuroiou: not screened in .*: run the study again"):
        Search(study, store).next()


def test_an_arm_that_is_not_screened_is_left_alone(tmp_path: Path) -> None:
    study, optuna_study = screened_study(), optuna.create_study()
    enqueue_screened(study, FolderStore(tmp_path), "ce", optuna_study)
    assert optuna_study.get_trials() == []


def test_a_study_screens_fine_tunes_and_confirms_in_one_run(tmp_path: Path) -> None:
    study = screened_study(
        screen={"surrogates": 3, "top": 2},
        budget={"max_trials": 3},
        finetune={"epochs": 1},
        controls={"ce": {"name": "cross_entropy"}},
        variants={"hinge": {"fit_surrogate.inputs": "hinge3"}},
        confirm={"seeds": 1},
    )
    store, news = FolderStore(tmp_path), list[News]()
    run_here(study, store, news.append)
    records = list(StudyRecords(study, store))
    assert [record.state for record in records] == ["complete"] * 9
    for arm in ("neuroiou", "hinge"):
        screening = find_screening(study, arm, store)
        assert screening is not None
        fine_tuned = [r.assignment.values["fit_surrogate.depth"] for r in records if r.assignment.arm == arm]
        sent = [values["fit_surrogate.depth"] for values in screening.sent(study)]
        assert len(sent) == 2 and fine_tuned == [sent[0], sent[1], sent[0]]
    assert all(record.state == "complete" for record in StudyRecords(study, store).confirmations())
    heard = [item.progress.epoch for item in news if isinstance(item, Epoch) and item.progress.stage == "screen"]
    assert heard == [1, 2, 3] * 2
    # Three surrogates of each of two arms are fitted once; the confirmations fit their own.
    row = next(row for row in stage_rows(study, store, records) if row.stage == "fit_surrogate")
    assert (row.wanted, row.in_store) == (6, 6)
    assert len(list((tmp_path / "stages" / "fit_surrogate").iterdir())) == 8
