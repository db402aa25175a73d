"""SIGKILL of the driver in the middle; the same command finishes the study."""

import os
import signal
import subprocess
from pathlib import Path

from mlflow import MlflowClient

from tests.studies import call, command, made, report, write_study
from tests.waiting import wait_until


def start(study: Path, store: Path, backend: str) -> "subprocess.Popen[bytes]":
    arguments = command("run", study, "--store", store, "--backend", backend)
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finished(store: Path) -> dict[Path, int]:
    """Manifest of every complete stage → when it was written."""
    manifests = (store / "stages").glob("*/*/manifest.json")
    return {path: path.stat().st_mtime_ns for path in manifests if path.parent.suffix != ".partial"}


def test_the_same_command_finishes_a_killed_study(tmp_path: Path) -> None:
    kill_and_finish(tmp_path, "local")


def kill_and_finish(tmp_path: Path, backend: str) -> None:
    """Kill a driver when three trials are made; run the same command; nothing is made, or shown in MLflow, twice."""
    study, store = write_study(tmp_path, budget={"max_trials": 3}, finetune={"epochs": 6}), tmp_path / "runs"
    driver = start(study, store, backend)
    wait_until(lambda: len(made(store, "finetune")) >= 3 or driver.poll() is not None, 180)
    os.kill(driver.pid, signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    before = finished(store)

    done = call("run", study, "--store", store, "--backend", backend)
    assert done.returncode == 0, done.stderr
    after = finished(store)
    assert {path: after[path] for path in before} == before
    assert len(made(store, "pretrain")) == 1
    check_trials(study, store)
    check_runs(store)


def check_trials(study: Path, store: Path) -> None:
    trials = report(study, store)["trials"]
    assert sorted(row["trial"] for row in trials) == [
        f"{arm}-00{number}" for arm in ("ce", "neuroiou", "soft_iou") for number in range(3)
    ]
    assert {row["state"] for row in trials} == {"complete"}


def check_runs(store: Path) -> None:
    """No trial has two MLflow runs, and no metric two values for a step."""
    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    runs = client.search_runs([item.experiment_id for item in client.search_experiments()])
    names = [run.data.tags["neuroiou.trial"] for run in runs if "neuroiou.trial" in run.data.tags]
    assert len(names) == len(set(names)) == 9
    for run in runs:
        if "neuroiou.trial" in run.data.tags:
            steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "finetune/select_miou")]
            assert sorted(steps) == list(range(1, 7))
            assert run.info.status == "FINISHED"


def test_a_second_driver_is_told_who_has_the_study(tmp_path: Path) -> None:
    study, store = write_study(tmp_path, finetune={"epochs": 60}), tmp_path / "runs"
    driver = start(study, store, "local")
    try:
        wait_until(lambda: (store / "studies").is_dir() or driver.poll() is not None, 60)
        second = call("run", study, "--store", store, "--backend", "local")
        assert second.returncode == 3
        assert f"process {driver.pid} on" in second.stderr
    finally:
        driver.kill()
        driver.wait()
