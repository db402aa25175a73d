"""Trials are seen while they run; telling MLflow again changes nothing, and the store can rebuild it."""

import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from neuroiou_study.orchestrate.tracking import Tracker, sync
from neuroiou_study.stages.backend import LocalWorker, Progress
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.records import Assignment, StudyRecords
from neuroiou_study.stages.trial import run_trial
from neuroiou_study.stages.val import run_finals
from tests.orchestrate.tracked import (
    CONTROL,
    SURROGATE,
    Played,
    Shown,
    shown,
    shown_after_telling,
    tiny_study,
)


def test_a_trial_is_seen_while_it_runs(one: Played, uri: str) -> None:
    tracker = Tracker(one.study, one.store, uri)
    assignment = one.record(SURROGATE).assignment
    tracker.begin(assignment)
    tracker.progress(assignment, Progress("finetune", 0, 1, 2, {"loss": 0.5, "select_miou": 0.25}))
    run = shown(one, uri).runs[SURROGATE]
    assert (run.status, run.tags["neuroiou.state"]) == ("RUNNING", "running")
    assert run.metrics["finetune/select_miou"] == [(1, 0.25)]
    assert run.params["finetune.lr"] == "0.001"


def test_equal_values_of_two_epochs_are_both_there(one: Played, uri: str) -> None:
    tracker = Tracker(one.study, one.store, uri)
    assignment = one.record(SURROGATE).assignment
    for epoch in (1, 2):
        tracker.progress(assignment, Progress("finetune", 0, epoch, 2, {"select_miou": 0.25}))
    assert shown(one, uri).runs[SURROGATE].metrics["finetune/select_miou"] == [(1, 0.25), (2, 0.25)]


def test_shared_stages_are_seen_in_the_summary_while_they_run(one: Played, uri: str) -> None:
    Tracker(one.study, one.store, uri).progress(None, Progress("pretrain", 0, 1, 2, {"loss": 0.5}))
    summary = shown(one, uri).runs["summary"]
    assert (summary.status, summary.metrics) == ("RUNNING", {"pretrain/loss": [(1, 0.5)]})


def test_the_mean_over_seeds_is_there_as_soon_as_it_can_be(two: Played, uri: str) -> None:
    tracker = Tracker(two.study, two.store, uri)
    assignment = two.record(SURROGATE).assignment
    for seed, epoch, loss in ((3, 1, 0.5), (3, 2, 0.25), (4, 1, 1.0)):
        tracker.progress(assignment, Progress("finetune", seed, epoch, 2, {"loss": loss}))
    assert shown(two, uri).runs[SURROGATE].metrics == {
        "seed_3/finetune/loss": [(1, 0.5), (2, 0.25)],
        "seed_4/finetune/loss": [(1, 1.0)],
        "finetune/loss": [(1, 0.75)],
    }


def test_telling_it_again_changes_nothing(two: Played, uri: str) -> None:
    first = shown_after_telling(two, uri)
    written = {path: path.stat().st_ctime_ns for run in first.runs.values() for path in run.files.values()}
    assert shown_after_telling(two, uri) == first  # as after a restart of the driver
    for _ in range(2):
        assert sync(two.study, two.store, uri) == len(two.records)
        assert shown(two, uri) == first
    del written[first.runs["summary"].files["leaderboard.json"]]
    assert {path: path.stat().st_ctime_ns for path in written} == written


def test_a_deleted_database_is_rebuilt_from_the_store(
    one: Played, uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = shown_after_telling(one, uri)
    (tmp_path / "mlflow.db").unlink()
    shutil.rmtree(tmp_path / "mlartifacts")
    # By another name: MLflow keeps its connection to the deleted file for as long as the process lives.
    (tmp_path / "again").symlink_to(tmp_path)
    again = f"sqlite:///{tmp_path / 'again' / 'mlflow.db'}"
    assert sync(one.study, one.store, again) == len(one.records)
    assert shown(one, again).without_ids() == first.without_ids()
    assert capfd.readouterr() == ("", "")


def test_an_experiment_or_run_that_somebody_deleted_comes_back(one: Played, uri: str) -> None:
    first, client = shown_after_telling(one, uri), MlflowClient(uri)
    client.delete_run(first.runs[CONTROL].id)
    client.delete_experiment(first.experiment)
    sync(one.study, one.store, uri)
    assert shown(one, uri).without_ids() == first.without_ids()


def test_ambient_state_is_neither_used_nor_changed(one: Played, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = uri.replace("mlflow.db", "elsewhere.db")
    for name, value in {
        "TRACKING_URI": elsewhere,
        "REGISTRY_URI": elsewhere,
        "RUN_ID": "a",
        "EXPERIMENT_ID": "9",
    }.items():
        monkeypatch.setenv(f"MLFLOW_{name}", value)
    assert len(shown_after_telling(one, uri).versions) == 1
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == elsewhere
    assert not Path(elsewhere.removeprefix("sqlite:///")).exists()


def test_nothing_is_printed_and_the_programs_logging_stays(one: Played, tmp_path: Path) -> None:
    # In a process of its own: some of what MLflow prints and changes is done when it is first imported or used.
    code = """
import logging, sys
from neuroiou_study.orchestrate.tracking import Tracker
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.records import StudyRecords
from neuroiou_study.stages.folder_store import FolderStore

levels = {name: logging.getLogger(name).level for name in ("mlflow", "alembic", "urllib3.connectionpool")}
study, store = StudySpec.model_validate_json(sys.argv[1]), FolderStore(sys.argv[2])
Tracker(study, store, sys.argv[3]).conclude(list(StudyRecords(study, store)))
assert {name: logging.getLogger(name).level for name in levels} == levels
assert (logging.root.level, logging.root.handlers) == (logging.WARNING, [])
"""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = [sys.executable, "-c", code, one.study.model_dump_json(exclude_defaults=True), str(one.store.root), uri]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert shown(one, uri).runs["summary"].status == "FINISHED"


def test_a_trial_that_failed_and_is_run_again_shows_how_it_ended_at_last(one: Played, uri: str) -> None:
    tracker, record = Tracker(one.study, one.store, uri), one.record(SURROGATE)
    partial = [run.model_copy(update={"history": run.history[:1]}) for run in record.runs]
    failed = {"state": "failed", "error": "OSError: gone", "score": 0.125, "runs": partial}
    tracker.finish(record.model_copy(update=failed))
    assert shown(one, uri).runs[SURROGATE].tags["neuroiou.error"] == "OSError: gone"
    tracker.begin(record.assignment)
    assert shown(one, uri).runs[SURROGATE].status == "RUNNING"
    tracker.finish(record)
    run = shown(one, uri).runs[SURROGATE]
    assert (run.status, "neuroiou.error" in run.tags) == ("FINISHED", False)
    assert run.latest["score"] == record.score
    assert [step for step, _ in run.metrics["finetune/loss"]] == [1, 2]


def test_a_run_that_was_made_with_other_values_is_replaced(one: Played, uri: str) -> None:
    tracker, assignment = Tracker(one.study, one.store, uri), one.record(SURROGATE).assignment
    tracker.begin(assignment.model_copy(update={"values": {**assignment.values, "finetune.lr": 0.5}}))
    other = shown(one, uri).runs[SURROGATE]
    tracker = Tracker(one.study, one.store, uri)
    tracker.begin(assignment)
    run = shown(one, uri).runs[SURROGATE]
    assert (other.params["finetune.lr"], run.params["finetune.lr"]) == ("0.5", "0.001")


def test_val_is_shown_although_it_is_opened_after_the_trial_has_ended(uri: str, tmp_path: Path) -> None:
    study, store = tiny_study(), FolderStore(tmp_path / "store")
    tracker, assignment = Tracker(study, store, uri), Assignment(arm="ce", number=0, values={})
    run_trial(study, assignment, store, LocalWorker())
    records = list(StudyRecords(study, store))
    tracker.finish(records[0])
    run_finals(study, store, LocalWorker())
    tracker.conclude(records)
    runs = shown(Played(study, store, [], records), uri).runs
    assert runs["ce-000"].metrics["val/miou"] == runs["summary"].metrics["study/val_miou_ce"]


def test_runs_of_trials_that_never_ended_are_closed(one: Played, uri: str) -> None:
    tracker = Tracker(one.study, one.store, uri)
    tracker.begin(Assignment(arm="ce", number=7, values={}))
    tracker.conclude(one.records)
    run = shown(one, uri).runs["ce-007"]
    assert (run.status, run.tags["neuroiou.state"]) == ("KILLED", "stopped")


def test_a_run_that_was_made_twice_is_there_once(one: Played, uri: str) -> None:
    # MLflow's client asks again when an answer is late, and then the server does both.
    view = shown_after_telling(one, uri)
    client, run = MlflowClient(uri), view.runs[CONTROL]
    client.create_run(view.experiment, tags=run.tags, run_name=CONTROL)
    sync(one.study, one.store, uri)
    assert shown(one, uri) == view


def test_a_driver_that_died_is_caught_up_with_at_the_end(one: Played, view: Shown, uri: str) -> None:
    assignment = one.record(SURROGATE).assignment
    died = Tracker(one.study, one.store, uri)
    died.begin(assignment)
    row = one.record(SURROGATE).runs[0].history[0]
    died.progress(assignment, Progress("finetune", 0, 1, 2, {"loss": row["loss"]}))
    Tracker(one.study, one.store, uri).conclude(one.records)
    assert shown(one, uri).without_ids() == view.without_ids()
