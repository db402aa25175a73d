"""Studies on real Ray clusters, as their users run them; in one file, so that they run one after the other."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from neuroiou_study.core import NeuroIoULoss
from tests.conftest import REPOSITORY
from tests.ray_head import RayHead, free_and_all_cpus, ray_head
from tests.studies import call, command, made, report, stray, write_study
from tests.test_restart import kill_and_finish
from tests.waiting import wait_until

# A weight decay of 1e12 multiplies the weights by 1e8 and more in each step, until the loss is not finite; a learning
# rate of 1 forgets what was learned. The first trial has the file's own, harmless values.
DIVERGING = {
    "pretrain": {"epochs": 12, "lr": 1e-2},
    "finetune": {"epochs": 4, "lr": 1e-4, "optimizer": {"name": "sgd", "weight_decay": 0.0}},
    "search": {
        "finetune.optimizer.weight_decay": {"choice": [0.0, 1e12]},
        "finetune.lr": {"choice": [1e-4, 1.0]},
    },
    "search_seed": 10,
    "pruner": {"name": "successive_halving", "reduction_factor": 2},
    "controls": {},
    "budget": {"max_trials": 3},
}


@pytest.fixture(scope="module", params=[False, True], ids=["no dashboard", "dashboard"])
def head(request: pytest.FixtureRequest) -> Iterator[RayHead]:
    with ray_head(dashboard=request.param) as started:
        yield started


@pytest.mark.parametrize(
    ("head", "workers"), [(False, 1), (True, 2)], ids=["no dashboard-1", "dashboard-2"], indirect=["head"]
)
def test_every_end_of_a_trial_frees_its_cpus(head: RayHead, tmp_path: Path, workers: int) -> None:
    # One trial at a time, so that the same three are drawn in every run.
    study = write_study(tmp_path, resources={"workers": workers, "trials_at_once": 1, "shared_workers": 1}, **DIVERGING)
    done = run_on(head, study, tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert stray(done.stderr) == [], "nothing but events: no warning of Ray, Tune, torch or MLflow"
    states = {row["trial"]: row["state"] for row in report(study, tmp_path / "runs")["trials"]}
    assert len(states) == 3
    assert set(states.values()) == {"complete", "pruned", "failed"}
    assert free_and_all_cpus(head) == (2, 2)
    assert len(made(tmp_path / "runs", "pretrain")) == 1


def run_on(head: RayHead, study: Path, store: Path) -> "subprocess.CompletedProcess[str]":
    return call("run", study, "--store", store, "--address", head.address, env=head.environment)


@pytest.mark.parametrize("head", [False], ids=["no dashboard"], indirect=True)
def test_a_killed_trial_process_is_replaced_and_continues(head: RayHead, tmp_path: Path) -> None:
    alone = {"trials_at_once": 1}
    study = write_study(tmp_path, finetune={"epochs": 40}, budget={"max_trials": 1}, controls={}, resources=alone)
    store = tmp_path / "runs"
    driver = subprocess.Popen(
        command("run", study, "--store", store, "--address", head.address),
        env=head.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    pattern = "stages/finetune/*.partial/history.jsonl"
    wait_until(lambda: any(store.glob(pattern)) or driver.poll() is not None, 180)
    history = next(store.glob(pattern))
    victim = trial_process(driver)
    rows_before = len(history.read_text().splitlines())
    os.kill(victim.pid, signal.SIGKILL)
    output, _ = driver.communicate(timeout=480)
    assert driver.returncode == 0, output
    assert [row["state"] for row in report(study, store)["trials"]] == ["complete"]
    assert rows_before >= 1
    [folder] = made(store, "finetune")
    assert [json.loads(line)["epoch"] for line in (folder / "history.jsonl").open()] == list(range(1, 41))
    assert free_and_all_cpus(head) == (2, 2)


@pytest.mark.parametrize("head", [False], ids=["no dashboard"], indirect=True)
def test_winners_are_confirmed_on_fresh_seeds(head: RayHead, tmp_path: Path) -> None:
    study = write_study(tmp_path, confirm={"seeds": 2, "resamples": 200}, budget={"max_trials": 1})
    done = run_on(head, study, tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    rows = report(study, tmp_path / "runs")["arms"]
    assert {row["arm"]: len(row["val_miou_per_seed"]) for row in rows} == {"neuroiou": 2, "ce": 2, "soft_iou": 2}
    assert "the best learned loss on val, is" in done.stdout
    assert len(made(tmp_path / "runs", "pretrain")) == 3
    assert free_and_all_cpus(head) == (2, 2)


# Every trial pretrains; the first trials of both arms need the same result, so that the second has to wait for it.
SHARING_A_GPU = {
    "pretrain": {"epochs": 80, "lr": 3e-3},
    # Long, so that those that are not stopped at the first epochs still run when the next has begun.
    "finetune": {"epochs": 60},
    "search": {
        "pretrain.lr": {"float": [1e-3, 1e-2], "log": True},
        "finetune.lr": {"choice": [1e-3, 3.0]},
    },
    "pruner": {"name": "successive_halving", "reduction_factor": 2},
    "controls": {"ce": {"name": "cross_entropy"}},
    "budget": {"max_trials": 4},
    "resources": {"cpus_per_worker": 0.5, "gpus_per_worker": 0.25, "shared_workers": 1},
}


def test_trials_share_a_gpu_and_hold_it_only_while_they_work(tmp_path: Path) -> None:
    study = write_study(tmp_path, **SHARING_A_GPU)
    with ray_head(dashboard=False, num_gpus=1) as head:
        lines = watched(head, study, tmp_path / "runs")
        assert free_and_all_cpus(head) == (2, 2)
    assert lines[0] == [4, 3, 2, 1]  # trials at once, for a quarter, .3, a half and a whole GPU
    moments = list(follow(lines[1:]))
    assert max(len(moment.running) for moment in moments) == 4
    assert {moment.state for moment in moments if moment.kind == "Ended"} <= {"complete", "pruned"}
    check_waiting(moments)
    check_stopping(moments)
    # Nothing was made twice: one pretraining for the two that share it, one for each other trial.
    assert len(made(tmp_path / "runs", "pretrain")) == 7


def watched(head: RayHead, study: Path, store: Path) -> list[Any]:
    command = [sys.executable, "-m", "tests.watched_study", str(study), str(store), head.address]
    done = subprocess.run(command, env=head.environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@dataclass(frozen=True)
class Moment:
    """A piece of news, and which trials hold a worker and which wait after it."""

    kind: str
    trial: str
    stage: str | None
    state: str | None
    running: frozenset[str]
    waiting: frozenset[str]


def follow(lines: list[Any]) -> Iterator[Moment]:
    running, waiting = set[str](), set[str]()
    for kind, trial, stage, state in lines:
        running, waiting = running - {trial}, waiting - {trial}
        if kind in ("Begun", "Epoch") and trial is not None:
            running |= {trial}
        elif kind == "Postponed":
            waiting |= {trial}
        yield Moment(kind, trial, stage, state, frozenset(running), frozenset(waiting))


def check_waiting(moments: list[Moment]) -> None:
    """The trial that had to wait held nothing: meanwhile four others ran, and it began again when it could."""
    [waiting] = [moment.trial for moment in moments if moment.kind == "Postponed"]
    [maker] = {"neuroiou-000", "ce-000"} - {waiting}
    during = [moment for moment in moments if waiting in moment.waiting and moment.kind == "Epoch"]
    assert any(len(moment.running) == 4 for moment in during)
    assert {moment.trial for moment in during if moment.stage == "pretrain"} > {maker}
    assert waiting not in {moment.trial for moment in moments if moment.stage == "pretrain"}
    [begun, again] = [number for number, each in enumerate(moments) if (each.kind, each.trial) == ("Begun", waiting)]
    # It is handed out when what it needs is there, and not before.
    assert any((each.stage, each.trial) == ("pretrain", maker) for each in moments[begun:again])
    assert not any((each.stage, each.trial) == ("pretrain", maker) for each in moments[again:])
    assert any((each.kind, each.trial) == ("Ended", waiting) for each in moments[again:])


def check_stopping(moments: list[Moment]) -> None:
    """The share of a trial that was stopped early is another's while those that ran beside it still run."""
    stopped = [number for number, moment in enumerate(moments) if moment.state == "pruned"]
    followed = []
    for number in stopped:
        following = next((moment for moment in moments[number:] if moment.kind == "Begun"), None)
        followed.append(following is not None and bool(following.running & moments[number].running))
    assert any(followed), moments


def trial_process(driver: "subprocess.Popen[str]") -> psutil.Process:
    """The process of the one running trial of ``driver``'s cluster, by the name that Ray gives it."""
    users: list[Any] = [process for process in psutil.process_iter(["cmdline"]) if is_trial(process)]
    assert len(users) == 1, users
    found = users[0]
    assert isinstance(found, psutil.Process)
    return found


def is_trial(process: psutil.Process) -> bool:
    return any("ray::ImplicitFunc.train" in part for part in process.info["cmdline"] or [])


SHORTER = (
    "pretrain.epochs=3",
    "finetune.epochs=2",
    "model.width=4",
    "fit_surrogate.epochs=20",
    "budget.max_trials=1",
    "controls={ce: {name: cross_entropy}}",
    "pruner={name: none}",
    "gate.enabled=false",
)
STUDY = REPOSITORY / "search_spaces" / "camvid_unet.yaml"


def submit(head: RayHead, *options: str) -> "subprocess.CompletedProcess[str]":
    ray = str(Path(sys.executable).with_name("ray"))
    job = [ray, "job", "submit", "--address", head.dashboard, "--working-dir", str(REPOSITORY)]
    entry = ["python", "jobs/run_study.py", "search_spaces/camvid_unet.yaml", *options]
    return subprocess.run([*job, "--", *entry], env=head.environment, capture_output=True, text=True, check=False)


def as_options(overrides: tuple[str, ...]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


WITH_DASHBOARD = pytest.mark.parametrize("head", [True], ids=["dashboard"], indirect=True)


@WITH_DASHBOARD
def test_submitted_study_on_camvid(head: RayHead, camvid_small: Path, tmp_path: Path) -> None:
    overrides = (f"data.root={camvid_small}", *SHORTER)
    done = submit(head, *as_options(overrides), "--store", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vs ce" in done.stdout
    assert len(made(tmp_path / "runs", "pretrain")) == 1
    check_report(tmp_path / "runs", overrides)
    check_mlflow(tmp_path / "runs", tmp_path / "download")
    assert free_and_all_cpus(head) == (2, 2)


def check_report(store: Path, overrides: tuple[str, ...]) -> None:
    board = report(STUDY, store, *as_options(overrides))
    assert board["ce_control"] == "ce"
    arms = {row["arm"]: row for row in board["arms"]}
    assert arms["ce"]["difference_to_ce"] == 0
    assert arms["neuroiou"]["difference_to_ce"] == pytest.approx(arms["neuroiou"]["val_miou"] - arms["ce"]["val_miou"])
    assert {row["state"] for row in board["trials"]} == {"complete"}
    assert len(board["trials"]) == 2


def check_mlflow(store: Path, download: Path) -> None:
    """A run for each trial; a loadable surrogate in each of the surrogate's arm."""
    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    experiments = [item for item in client.search_experiments() if item.name.startswith("camvid_unet-")]
    runs = client.search_runs([item.experiment_id for item in experiments])
    trials = {run.info.run_name: run for run in runs if run.data.tags.get("neuroiou.trial")}
    assert sorted(trials) == ["ce-000", "neuroiou-000"]
    download.mkdir()
    client.download_artifacts(trials["neuroiou-000"].info.run_id, "surrogate", str(download))
    assert NeuroIoULoss.load(download / "surrogate").surrogate.config.depth == 4


@WITH_DASHBOARD
def test_a_wrong_file_fails_the_job(head: RayHead, tmp_path: Path) -> None:
    done = submit(head, "--set", "finetune.epoch=3", "--store", str(tmp_path / "runs"))
    assert done.returncode != 0
    assert "did you mean finetune.epochs?" in done.stdout + done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_same_command_finishes_a_killed_study_on_ray(tmp_path: Path) -> None:
    kill_and_finish(tmp_path, "ray")


@pytest.mark.parametrize("head", [False], ids=["no dashboard"], indirect=True)
def test_a_study_screens_before_it_fine_tunes(head: RayHead, tmp_path: Path) -> None:
    resources = {"workers": 2, "trials_at_once": 1, "shared_workers": 2}
    screen = {"surrogates": 4, "top": 2}
    study = write_study(tmp_path, screen=screen, controls={}, resources=resources, confirm={"seeds": 1})
    done = run_on(head, study, tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    board = report(study, tmp_path / "runs")
    (screening,) = board["screening"]
    assert (screening["fitted"], screening["sent"], screening["num_points"]) == (4, 2, 2)
    assert len(made(tmp_path / "runs", "fit_surrogate")) == 5  # and the winner's, on its fresh seed
    assert {row["state"] for row in board["trials"]} == {"complete"} and len(board["trials"]) == 3
    assert free_and_all_cpus(head) == (2, 2)
