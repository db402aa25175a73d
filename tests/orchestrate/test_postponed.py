"""A trial that would have to wait for another one gives its place up, and comes back."""

from pathlib import Path

import pytest

from neuroiou_study.orchestrate.search import Search
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.news import Begun, Epoch, Postponed
from neuroiou_study.stages.records import StudyRecords
from neuroiou_study.stages.trial import needed
from tests.orchestrate.test_search import end, epoch, handed_out, make_study, play


def test_a_postponed_trial_comes_back_once_what_it_needs_is_not_being_made(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    search = Search(study, store)
    maker, waiting = handed_out(search), handed_out(search)
    with store.try_lease(needed(study, waiting)[0]) or pytest.fail():
        search.postpone(waiting)
        following = handed_out(search)
        assert following.arm == "soft_iou"
        end(study, store, maker, 0.5)
        search.settle(maker)
        assert handed_out(search).name == "neuroiou-001"
        assert StudyRecords(study, store).find(waiting) is None
    assert search.next() == waiting
    assert search.report(waiting, epoch(1, 0.5)) is False
    end(study, store, waiting, 0.5)
    search.settle(waiting)
    told = [type(item) for item in search.news() if getattr(item, "assignment", None) == waiting]
    assert told == [Begun, Postponed, Begun, Epoch]


def test_a_search_is_over_when_the_last_postponed_trial_has_ended(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    search = Search(study, store)
    waiting = handed_out(search)
    making = store.try_lease(needed(study, waiting)[0])
    assert making is not None
    search.postpone(waiting)
    assert len(play(study, store, search)) == 8
    assert search.next() is None and not search.is_over()
    making.release()
    assert play(study, store, search) == [waiting]
    assert search.next() is None and search.is_over()


def test_no_further_trial_is_chosen_while_many_wait(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    search = Search(study, store)
    runs = handed_out(search)
    with store.try_lease(needed(study, runs)[0]) or pytest.fail():
        names = []
        while (assignment := search.next()) is not None:
            names.append(assignment.name)
            search.postpone(assignment)
        assert len(names) == 4  # one for each arm, one for the trial that runs
        end(study, store, runs, 0.5)
        search.settle(runs)
        assert search.next() is None and not search.is_over()
    assert search.next() is not None


def test_a_dead_drivers_postponed_trial_is_handed_out_again(tmp_path: Path) -> None:
    study, store = make_study(), FolderStore(tmp_path)
    dead = Search(study, store)
    waiting = handed_out(dead)
    with store.try_lease(needed(study, waiting)[0]) or pytest.fail():
        dead.postpone(waiting)
        assert Search(study, store).next() == waiting
