"""Studies on a real Ray cluster: everything that ends gives back what it held, and a crash is not the end."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.ray_head import RayHead, free_and_all_cpus, ray_head
from tests.studies import call, command, made, report, write_study
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("ray")

# A weight decay of 1e12 multiplies the weights by 1e8 and more in each step, until the loss is not finite; a learning
# rate of 1 forgets what was learned. The first trial has the file's own, harmless values.
DIVERGING = {
    "pretrain": {"epochs": 12, "lr": 1e-2},
    "finetune": {"epochs": 4, "lr": 1e-4, "optimizer": {"name": "sgd", "weight_decay": 0.0}},
    "search": {
        "finetune.optimizer.weight_decay": {"choice": [0.0, 1e12]},
        "finetune.lr": {"choice": [1e-4, 1.0]},
    },
    "search_seed": 5,
    "pruner": {"name": "successive_halving", "reduction_factor": 2},
    "controls": {},
    "budget": {"max_trials": 3},
}


@pytest.fixture(scope="module", params=[True, False], ids=["dashboard", "no dashboard"])
def head(request: pytest.FixtureRequest) -> Iterator[RayHead]:
    with ray_head(dashboard=request.param) as started:
        yield started


@pytest.mark.parametrize("workers", [1, 2])
def test_every_end_of_a_trial_frees_its_cpus(head: RayHead, tmp_path: Path, workers: int) -> None:
    # One trial at a time, so that the same three are drawn in every run.
    study = write_study(tmp_path, resources={"workers": workers, "trials_at_once": 1}, **DIVERGING)
    done = run_on(head, study, tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    states = {row["trial"]: row["state"] for row in report(study, tmp_path / "runs")["trials"]}
    assert len(states) == 3
    assert set(states.values()) == {"complete", "pruned", "failed"}
    assert free_and_all_cpus(head) == (2, 2)
    assert len(made(tmp_path / "runs", "pretrain")) == 1


def run_on(head: RayHead, study: Path, store: Path) -> "subprocess.CompletedProcess[str]":
    return call("run", study, "--store", store, "--address", head.address, env=head.environment)


@pytest.mark.parametrize("head", [False], ids=["no dashboard"], indirect=True)
def test_a_killed_trial_process_is_replaced_and_continues(head: RayHead, tmp_path: Path) -> None:
    study = write_study(tmp_path, finetune={"epochs": 40}, budget={"max_trials": 1}, controls={})
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
    output, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, output
    assert [row["state"] for row in report(study, store)["trials"]] == ["complete"]
    assert rows_before >= 1
    [folder] = made(store, "finetune")
    assert [json.loads(line)["epoch"] for line in (folder / "history.jsonl").open()] == list(range(1, 41))
    assert free_and_all_cpus(head) == (2, 2)


def trial_process(driver: "subprocess.Popen[str]") -> psutil.Process:
    """The process of the one running trial of ``driver``'s cluster, by the name that Ray gives it."""
    users: list[Any] = [process for process in psutil.process_iter(["cmdline"]) if is_trial(process)]
    assert len(users) == 1, users
    found = users[0]
    assert isinstance(found, psutil.Process)
    return found


def is_trial(process: psutil.Process) -> bool:
    return any("ray::ImplicitFunc.train" in part for part in process.info["cmdline"] or [])
