"""The store is the truth and Optuna a view: lost, moved, interrupted or extended, a search goes on where it was."""

from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.orchestrate.optuna_storage import open_storage
from neuroiou_study.orchestrate.search import Search
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.objects import StoreUnavailableError
from neuroiou_study.stages.records import Assignment, StudyRecords
from tests.orchestrate.test_search import end, make_study, play

WIDER = {
    "fit_surrogate.depth": {"int": [1, 5]},
    "fit_surrogate.inputs": {"choice": ["prob3", "hinge3", "log3"]},
    "finetune.lr": {"float": [1e-5, 1e-1], "log": True},
    "fit_surrogate.width": {"int": [20, 100]},
}
Played = list[tuple[str, str]]


def shown(played: list[Assignment]) -> Played:
    return [(each.name, str(each.values)) for each in played]


def score(assignment: Assignment) -> float:
    """Of the values alone, as that of a trial is."""
    return float(assignment.values["finetune.lr"])


def history(search: Search, arm: str) -> list[tuple[int, str, dict[str, Any], float | None]]:
    trials = search._arms[arm].study.get_trials()
    return [(each.number, each.state.name, each.params, each.value) for each in trials]


def play_some(study: StudySpec, store: FolderStore, search: Search, number: int) -> list[Assignment]:
    played = list[Assignment]()
    for _ in range(number):
        assignment = search.next()
        assert assignment is not None
        end(study, store, assignment, score=score(assignment))
        search.settle(assignment)
        played.append(assignment)
    return played


def database(folder: Path) -> str:
    return f"sqlite:///{folder / 'optuna.db'}"


@pytest.mark.parametrize("stops", [[1], [4, 9], [2, 3, 11, 11]])
def test_what_is_drawn_does_not_depend_on_interruptions(tmp_path: Path, stops: list[int]) -> None:
    study = make_study(budget={"max_trials": 12})
    whole_store, store = FolderStore(tmp_path / "a"), FolderStore(tmp_path / "b")
    whole = play_some(study, whole_store, Search(study, whole_store), 36)
    played, left = list[Assignment](), 36
    for stop in stops:
        search = Search(study, store)
        played += play_some(study, store, search, stop)
        search.next()  # begun, and its driver dies
        left -= stop
    played += play_some(study, store, Search(study, store), left)
    assert shown(played) == shown(whole)


def test_a_lost_journal_is_made_anew_from_the_store(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    search = Search(study, store)
    play_some(study, store, search, 5)
    running = search.next()
    before = {arm: history(search, arm) for arm in study.arms}
    (store.root / f"studies/{study.identity}/optuna.log").unlink()
    again = Search(study, store)
    assert {arm: history(again, arm) for arm in study.arms} == before
    assert again.next() == running


def test_a_study_moves_to_a_database_and_back(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path / "store")
    first = play_some(study, store, Search(study, store), 4)
    second = play_some(study, store, Search(study, store, database(tmp_path)), 3)
    third = play(study, store, Search(study, store))
    names = [each.name for each in first + second + third]
    assert len(names) == len(set(names)) == 9
    search = Search(study, store, database(tmp_path))
    assert search.next() is None and [state for _, state, _, _ in history(search, "ce")] == ["COMPLETE"] * 3


def test_a_wider_space_keeps_the_history(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    first = play(study, store, Search(study, store))
    wider = make_study(search=WIDER, budget={"max_trials": 5})
    assert wider.identity == study.identity
    search = Search(wider, store)
    known = history(search, "neuroiou")
    assert [params["fit_surrogate.width"] for _, _, params, _ in known] == [wider.fit_surrogate.width] * 3
    second = play(wider, store, search)
    assert sorted(each.number for each in second if each.arm == "neuroiou") == [3, 4]
    values = [str({**each.values, "fit_surrogate.width": wider.fit_surrogate.width}) for each in first]
    assert not {str(each.values) for each in second} & set(values)


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("finetune.lr", {"float": [1e-3, 1e-2], "log": True}),
        ("fit_surrogate.inputs", {"choice": ["prob3", "log3"]}),
        ("fit_surrogate.depth", {"choice": [1, 2, 3]}),
        ("fit_surrogate.depth", None),
    ],
)
def test_a_space_may_not_shrink(tmp_path: Path, name: str, bounds: dict[str, Any] | None) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    Search(study, store)
    search = {key: value for key, value in {**study.model_dump()["search"], name: bounds}.items() if value}
    with pytest.raises(ValueError, match=rf"search.{name}: was searched over .*: widen it, or give the study another"):
        Search(make_study(search=search), store)
    assert StudyRecords(study, store).store.read_json(f"studies/{study.identity}/study.json")["search"]


def test_a_study_that_screens_has_its_ranges_in_its_identity() -> None:
    wider = {**make_study().model_dump(mode="json")["search"], "fit_surrogate.width": {"int": [20, 100]}}
    screen = {"surrogates": 4, "top": 2}
    assert make_study(screen=screen).identity != make_study(screen=screen, search=wider).identity


def test_an_url_that_is_no_database_is_refused_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--optuna-storage") as raised:
        Search(make_study(), FolderStore(tmp_path), "nosuchdatabase://me:planted@127.0.0.1/x")
    assert "planted" not in str(raised.value) and raised.value.__cause__ is None


def test_a_database_that_stays_away_is_an_outage(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/no/such/folder/optuna.db"
    with pytest.raises(StoreUnavailableError, match="Optuna's database") as raised:
        open_storage(url, tmp_path / "optuna.log", patience_seconds=0.0)
    assert "run the same command again" in str(raised.value)
