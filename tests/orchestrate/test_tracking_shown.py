"""What MLflow shows of a study is what the store has of it."""

import json
import math
from pathlib import Path

import pytest
from mlflow import MlflowClient

from neuroiou_study.orchestrate.tracking import Tracker, sync
from neuroiou_study.stages.files import write_json
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pipeline import plan
from neuroiou_study.stages.records import Assignment, SeedRun, StudyRecords, TrialRecord
from tests.orchestrate.tracked import (
    CONTROL,
    FAILED,
    PRUNED,
    SURROGATE,
    SURROGATE_FILES,
    Played,
    Shown,
    shown,
    tiny_study,
)


def test_every_trial_has_one_flat_run_that_ended_as_the_trial_did(one: Played, view: Shown) -> None:
    runs = view.runs
    ends = {name: (run.status, run.tags["neuroiou.state"]) for name, run in runs.items() if name != "summary"}
    assert ends == {
        SURROGATE: ("FINISHED", "complete"),
        PRUNED: ("KILLED", "pruned"),
        FAILED: ("FAILED", "failed"),
        CONTROL: ("FINISHED", "complete"),
    }
    assert runs[FAILED].tags["neuroiou.error"] == "RuntimeError: the disc is full"
    assert runs[CONTROL].tags["neuroiou.study"] == one.study.identity
    assert (runs[CONTROL].tags["neuroiou.arm"], runs[CONTROL].tags["neuroiou.number"]) == ("ce", "0")
    assert not any("mlflow.parentRunId" in run.tags for run in runs.values())


def test_parameters_are_the_complete_trial_under_the_names_of_the_yaml(view: Shown) -> None:
    params = view.runs[SURROGATE].params
    assert params["finetune.lr"] == "0.001"
    assert params["fit_surrogate.depth"] == "2"
    assert params["data.name"] == "shapes"
    assert params["data.size"] == "[16, 16]"
    assert params["fit_surrogate.monotone"] == "false"
    assert params["seed"] == "0"


def test_a_control_has_no_parameters_of_the_stages_it_skips(view: Shown) -> None:
    runs = view.runs
    stages, losses = ("collect_pairs.", "fit_surrogate."), "finetune.loss."
    skipped = {name for name in runs[SURROGATE].params if name.startswith((*stages, losses))}
    assert {name.partition(".")[0] for name in skipped} == {"collect_pairs", "fit_surrogate", "finetune"}
    assert set(runs[CONTROL].params) == set(runs[SURROGATE].params) - skipped | {"finetune.loss.name"}


def test_metrics_are_those_of_the_store(one: Played, view: Shown) -> None:
    metrics, record = view.runs[SURROGATE].metrics, one.record(SURROGATE)
    history = record.runs[0].history
    assert len(history) == 2
    assert metrics["finetune/select_miou"] == [(int(row["epoch"]), row["select_miou"]) for row in history]
    assert metrics["finetune/loss"] == [(int(row["epoch"]), row["loss"]) for row in history]
    assert [step for step, _ in metrics["pretrain/loss"]] == [1, 2]
    evaluation = one.document(record, "evaluate", "metrics.json")
    assert metrics["evaluate/miou"] == [(0, evaluation["miou"])]
    assert metrics["evaluate/iou/triangle"] == [(0, evaluation["iou_per_class"]["triangle"])]
    assert metrics["score"] == [(0, record.score)]
    assert metrics["seconds"] == [(0, record.seconds)]


def test_a_fidelity_that_is_not_a_number_is_left_out(one: Played, view: Shown) -> None:
    metrics = view.runs[SURROGATE].metrics
    fidelity = one.document(one.record(SURROGATE), "fit_surrogate", "fidelity.json")
    assert any(math.isnan(value) for value in fidelity.values())
    expected = {f"fidelity/{name}": [(0, value)] for name, value in fidelity.items() if not math.isnan(value)}
    assert {name: steps for name, steps in metrics.items() if name.startswith("fidelity/")} == expected


def test_a_pruned_trial_shows_the_epochs_it_had(view: Shown) -> None:
    run = view.runs[PRUNED]
    assert [step for step, _ in run.metrics["finetune/loss"]] == [1]
    assert "evaluate/miou" not in run.metrics
    assert set(run.files) == {"history.jsonl", *(f"surrogate/{name}" for name in SURROGATE_FILES)}


def test_only_winners_show_val(view: Shown) -> None:
    runs = view.runs
    assert {name for name, run in runs.items() if "val/miou" in run.metrics} == {SURROGATE, CONTROL}
    assert runs["summary"].metrics["study/val_miou_ce"] == runs[CONTROL].metrics["val/miou"]


def test_files_are_those_of_the_store(one: Played, view: Shown) -> None:
    files, record = view.runs[SURROGATE].files, one.record(SURROGATE)
    names = {"history.jsonl", "evaluate/metrics.json", *(f"surrogate/{name}" for name in SURROGATE_FILES)}
    assert {name for name in files if not name.startswith("images/")} == names
    surrogate, finetune = one.folder(record, "fit_surrogate"), one.folder(record, "finetune")
    assert files["surrogate/surrogate.safetensors"].read_bytes() == (surrogate / "surrogate.safetensors").read_bytes()
    assert files["history.jsonl"].read_bytes() == (finetune / "history.jsonl").read_bytes()
    assert not files["history.jsonl"].is_symlink()


def test_files_lie_beside_the_database(view: Shown) -> None:
    (folder,) = {
        path.parents[len(Path(name).parents) + 2] for run in view.runs.values() for name, path in run.files.items()
    }
    assert (folder / "mlflow.db").is_file()
    assert all("mlartifacts" in path.parts for run in view.runs.values() for path in run.files.values())


def test_each_seed_has_its_own_metrics_beside_the_mean(two: Played, view_of_two: Shown) -> None:
    metrics, record = view_of_two.runs[SURROGATE].metrics, two.record(SURROGATE)
    first, second = ([row["select_miou"] for row in run.history] for run in record.runs)
    assert metrics["seed_3/finetune/select_miou"] == list(enumerate(first, 1))
    assert metrics["seed_4/finetune/select_miou"] == list(enumerate(second, 1))
    assert metrics["finetune/select_miou"] == [
        (e, (a + b) / 2) for e, (a, b) in enumerate(zip(first, second, strict=True), 1)
    ]
    assert metrics["score"][0][1] == pytest.approx(metrics["finetune/select_miou"][-1][1])
    assert {"seed_3/val/miou", "seed_4/val/miou", "val/miou", "seed_4/fidelity/mse", "fidelity/mse"} <= set(metrics)


def test_a_trial_of_several_seeds_has_one_set_of_parameters_and_files_of_each(view_of_two: Shown) -> None:
    run = view_of_two.runs[SURROGATE]
    assert run.params["seeds"] == "[3, 4]"
    assert "seed" not in run.params
    assert {name.split("/")[0] for name in run.files} == {"seed_3", "seed_4", "images"}
    assert "seed_4/surrogate/surrogate.safetensors" in run.files


def test_long_histories_parameters_and_errors_are_taken(tmp_path: Path, uri: str) -> None:
    weights = {"name": "weighted_cross_entropy", "class_weights": [1 / 3] * 500}
    study = tiny_study(controls={"weighted": weights})
    assignment = Assignment(arm="weighted", number=0, values={})
    history = [{"epoch": epoch, "loss": 1 / epoch, "select_miou": 0.5} for epoch in range(1, 701)]
    record = TrialRecord(
        assignment=assignment,
        state="failed",
        score=0.5,
        error="x" * 9000,
        seconds=1.0,
        runs=[SeedRun(seed=0, stages={}, history=history)],
    )
    played, ids = Played(study, FolderStore(tmp_path / "store"), [], [record]), set()
    for _ in range(2):
        Tracker(study, played.store, uri).finish(record)
        run = shown(played, uri).runs["weighted-000"]
        ids.add(run.id)
    assert len(ids) == 1
    assert run.metrics["finetune/loss"] == [(row["epoch"], row["loss"]) for row in history]
    assert len(run.params["finetune.loss.class_weights"]) == 6000
    assert len(run.tags["neuroiou.error"]) == 5000


def test_a_trial_that_failed_before_its_first_epoch_is_shown(tmp_path: Path, uri: str) -> None:
    study, store, assignment = tiny_study(), FolderStore(tmp_path / "store"), Assignment(arm="ce", number=0, values={})
    store.workspace(plan(assignment.specs(study)[0])["finetune"].address)
    run = SeedRun(seed=0, stages={}, history=[])
    record = TrialRecord(assignment=assignment, state="failed", score=None, error="x", seconds=1.0, runs=[run])
    Tracker(study, store, uri).finish(record)
    assert shown(Played(study, store, [], [record]), uri).runs["ce-000"].status == "FAILED"


def test_a_class_may_have_any_name(tmp_path: Path, uri: str) -> None:
    study, store = tiny_study(), FolderStore(tmp_path / "store")
    metrics = {"miou": 0.5, "miou_without_background": 0.5, "pixel_accuracy": 0.5}
    per_class = {"sign/symbol": 0.25, "café (open) [x]": 0.5, "absent": None}
    write_json(store.workspace("evaluate/a") / "metrics.json", {**metrics, "iou_per_class": per_class})
    store.commit("evaluate/a", {})
    run = SeedRun(seed=0, stages={"evaluate": "evaluate/a"}, history=[])
    assignment = Assignment(arm="ce", number=0, values={})
    record = TrialRecord(assignment=assignment, state="failed", score=None, error="x", seconds=1.0, runs=[run])
    StudyRecords(study, store).write(record)
    sync(study, store, uri)
    shown_metrics = shown(Played(study, store, [], [record]), uri).runs["ce-000"].metrics
    assert {name for name in shown_metrics if "/iou/" in name} == {
        "evaluate/iou/sign_symbol",
        "evaluate/iou/café _open_ _x_",
    }


def test_the_summary_tells_the_result(one: Played, view: Shown) -> None:
    summary = view.runs["summary"]
    assert summary.status == "FINISHED"
    assert {name: summary.metrics[f"study/trials_{name}"][0][1] for name in ("complete", "pruned", "failed")} == {
        "complete": 2,
        "pruned": 1,
        "failed": 1,
    }
    assert summary.metrics["study/score_neuroiou"] == [(0, one.record(SURROGATE).score)]
    assert summary.params["search.fit_surrogate.depth"] == '{"int": [1, 4], "log": false}'
    note = summary.tags["mlflow.note.content"]
    assert note.startswith("# tiny\n")
    assert f"| neuroiou | neuroiou | {SURROGATE} | {one.record(SURROGATE).score:.4f} |" in note
    table = json.loads(summary.files["leaderboard.json"].read_text())
    assert {row[table["columns"].index("trial")] for row in table["data"]} == {SURROGATE, PRUNED, FAILED, CONTROL}


def test_the_experiment_is_the_study(one: Played, uri: str) -> None:
    Tracker(one.study, one.store, uri)
    experiment = MlflowClient(uri).get_experiment_by_name(one.study.identity)
    assert experiment is not None
    assert experiment.tags["neuroiou.name"] == "tiny"
