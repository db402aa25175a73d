"""Machines that fail under a trial: a worker that hangs, a node that a spot market takes, a process that dies again."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from neuroiou_study.spec import load_study
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.ledger import Entry, Ledger
from tests.ray_head import RayHead, ray_head
from tests.studies import command, report, write_study
from tests.waiting import wait_until

PATIENCE = 240
LONG: dict[str, Any] = {
    "finetune": {"epochs": 40},
    "controls": {},
    "budget": {"max_trials": 1},
    "resources": {"trials_at_once": 1},
}


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head(dashboard=False, num_cpus=2) as started:
        yield started


@contextmanager
def running(head: RayHead, study: Path, store: Path) -> Iterator["subprocess.Popen[str]"]:
    driver = subprocess.Popen(
        command("run", study, "--store", store, "--address", head.address, "--tracking-uri", f"sqlite:///{store}.db"),
        env=head.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield driver
    finally:
        driver.kill()
        driver.wait()


def attempts(study: Path, store: Path, stage: str) -> list[Entry]:
    """What the ledger has of a stage, in the order of beginning."""
    entries = Ledger(load_study(study).identity, FolderStore(store)).entries()
    return sorted((each for each in entries if each.address.startswith(f"{stage}/")), key=lambda each: each.begun)


def pid_of(entry: Entry) -> int:
    return int(entry.process.partition(" ")[0])


def in_the_middle(driver: "subprocess.Popen[str]", study: Path, store: Path, number: int) -> int:
    """The process of the ``number``-th attempt at fine-tuning, once it has trained for an epoch."""

    def has_begun() -> bool:
        known = attempts(study, store, "finetune")
        checkpoints = list(store.glob("stages/finetune/*.partial/.checkpoint-*.pt"))
        return driver.poll() is not None or (len(known) >= number and bool(checkpoints))

    wait_until(has_begun, PATIENCE)
    assert driver.poll() is None, driver.communicate()[0]
    return pid_of(attempts(study, store, "finetune")[number - 1])


def test_a_worker_that_hangs_is_ended_and_its_trial_begun_again(head: RayHead, tmp_path: Path) -> None:
    study, store = write_study(tmp_path, **LONG, retry={"hung_seconds": 10, "crashes": 1}), tmp_path / "runs"
    with running(head, study, store) as driver:
        victim = in_the_middle(driver, study, store, 1)
        os.kill(victim, signal.SIGSTOP)
        shown = driver.communicate(timeout=PATIENCE)[0]
        assert driver.returncode == 0, shown
    assert "no sign of life for 10 s" in shown
    assert not psutil.pid_exists(victim)
    first, second = attempts(study, store, "finetune")
    assert (first.outcome, second.outcome) == ("running", "complete") and pid_of(second) != victim
    assert report(study, store)["trials"][0]["state"] == "complete"


def test_a_trial_whose_process_keeps_dying_fails_and_says_so(head: RayHead, tmp_path: Path) -> None:
    study, store = write_study(tmp_path, **LONG, retry={"crashes": 1}), tmp_path / "runs"
    with running(head, study, store) as driver:
        for number in (1, 2):
            os.kill(in_the_middle(driver, study, store, number), signal.SIGKILL)
        shown = driver.communicate(timeout=PATIENCE)[0]
        assert driver.returncode == 1, shown
    (trial,) = report(study, store)["trials"]
    assert trial["state"] == "failed"
    assert trial["error"] == "it crashed 2 times; retry.crashes allows 1: see Ray's log"


@contextmanager
def node(head: RayHead) -> Iterator[tuple[int, str]]:
    """A further machine of the cluster, with one CPU: its raylet's process and its id, once it has joined.

    One joins after the other: two that start at once on one machine may take the same names for their sockets.
    """
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, (Path(folder) / "log").open("w+") as log:
        ray = str(Path(sys.executable).with_name("ray"))
        address, options = f"--address={head.address}", ("--block", "--num-cpus=1", "--disable-usage-stats")
        process = subprocess.Popen([ray, "start", address, *options], env=head.environment, stdout=log, stderr=log)
        try:
            wait_until(lambda: process.poll() is not None or "Ray runtime started" in said(log), PATIENCE)
            assert process.poll() is None, said(log)
            yield raylet_of(process.pid)
        finally:
            for member in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                member.kill()
            process.wait()


def said(log: IO[str]) -> str:
    return Path(log.name).read_text()


def raylet_of(pid: int) -> tuple[int, str]:
    """Process and node of the raylet that the process ``pid`` has started."""
    option = "--node_id="
    for child in psutil.Process(pid).children():
        for part in child.cmdline():
            if part.startswith(option):
                return child.pid, part.removeprefix(option)
    raise AssertionError(f"process {pid} has no raylet")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process ``pid`` does nothing while the block runs."""
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)


def drain(head: RayHead, node: str) -> None:
    """Tell a node that the spot market takes it in a minute."""
    options = ("--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot", "--deadline-remaining-seconds=60")
    ray = str(Path(sys.executable).with_name("ray"))
    subprocess.run(
        [ray, "drain-node", f"--address={head.address}", f"--node-id={node}", *options],
        env=head.environment,
        check=True,
    )


def test_a_node_that_is_taken_away_is_left_in_time_and_costs_no_retry(tmp_path: Path) -> None:
    study, store = write_study(tmp_path, **LONG, retry={"crashes": 0}), tmp_path / "runs"
    with ray_head(dashboard=False, num_cpus=0) as head, node(head) as one, node(head) as other:
        nodes = dict([one, other])
        with running(head, study, store) as driver:
            victim = in_the_middle(driver, study, store, 1)
            before = psutil.Process(victim).ppid()
            with stopped(victim):  # `ray` takes seconds to begin; the trial would end meanwhile
                drain(head, nodes[before])
            wait_until(lambda: len(attempts(study, store, "finetune")) == 2 or driver.poll() is not None, PATIENCE)
            assert driver.poll() is None, driver.communicate()[0]
            after = psutil.Process(pid_of(attempts(study, store, "finetune")[1])).ppid()
            shown = driver.communicate(timeout=PATIENCE)[0]
            assert driver.returncode == 0, shown
    assert {before, after} == set(nodes)
    assert [each.outcome for each in attempts(study, store, "finetune")] == ["left", "complete"]
    (trial,) = report(study, store)["trials"]
    assert trial["state"] == "complete"
