"""Being asked to stop: SIGTERM, Ctrl-C, Ctrl-C twice. The study stops in time, says so, and goes on later."""

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.studies import call, command, report, write_study
from tests.waiting import wait_until

STOP_SECONDS = 20
LONG = {"finetune": {"epochs": 40}, "controls": {}, "budget": {"max_trials": 1}, "resources": {"trials_at_once": 1}}


def begun(study: Path, store: Path, backend: str) -> "subprocess.Popen[str]":
    """A driver whose trial is in the middle of its fine-tuning."""
    arguments = command("run", study, "--store", store, "--backend", backend)
    driver = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(lambda: any(store.glob("stages/finetune/*.partial/.checkpoint-*")) or driver.poll() is not None, 240)
    assert driver.poll() is None, driver.communicate()[0]
    return driver


@pytest.mark.parametrize(
    ("backend", "number", "code"),
    [("local", signal.SIGTERM, 143), ("local", signal.SIGINT, 130), ("ray", signal.SIGTERM, 143)],
)
def test_who_is_asked_to_stop_stops_in_time_and_can_go_on(
    tmp_path: Path, backend: str, number: signal.Signals, code: int
) -> None:
    study, store = write_study(tmp_path, **LONG), tmp_path / "runs"
    driver = begun(study, store, backend)
    family = psutil.Process(driver.pid).children(recursive=True)
    begin = time.monotonic()
    driver.send_signal(number)
    shown = driver.communicate(timeout=60)[0]
    assert driver.returncode == code and time.monotonic() - begin < STOP_SECONDS
    assert "stopped; the same command continues where it stopped" in shown and "Traceback" not in shown
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    require_continued(study, store)


def test_two_interrupts_end_it_at_once_and_damage_nothing(tmp_path: Path) -> None:
    study, store = write_study(tmp_path, **LONG), tmp_path / "runs"
    driver = begun(study, store, "ray")
    family = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(signal.SIGINT)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    assert driver.returncode == 130
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    require_continued(study, store)


def require_continued(study: Path, store: Path) -> None:
    """The same command goes on in the epoch it was in, and finishes the study."""
    (history,) = store.glob("stages/finetune/*.partial/history.jsonl")
    rows = history.read_text().splitlines()
    done = call("run", study, "--store", store, "--backend", "local")
    assert done.returncode == 0, done.stderr
    (trial,) = report(study, store)["trials"]
    assert trial["state"] == "complete"
    (finished,) = store.glob("stages/finetune/*/history.jsonl")
    assert finished.read_text().splitlines()[: len(rows)] == rows and len(rows) < 40
