"""A disk that is full or read-only: a clear error, nothing damaged, and the same command goes on after it."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.manifest import MANIFEST
from tests.orchestrate.small_disk import small_disk
from tests.studies import call, command, report, write_study
from tests.waiting import wait_until

SETTINGS: dict[str, Any] = {"controls": {"ce": {"name": "cross_entropy"}}, "budget": {"max_trials": 2}}
KIB = 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 4096) as folder:
        yield folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("whole")
    study = write_study(folder, **SETTINGS)
    assert run(study, folder / "runs").returncode == 0
    return trials(study, folder / "runs")


def run(study: Path, store: Path, backend: str = "local") -> "subprocess.CompletedProcess[str]":
    return call("run", study, "--store", store, "--backend", backend, "--tracking-uri", tracking(study))


def tracking(study: Path) -> str:
    return f"sqlite:///{study.parent / 'mlflow.db'}"


def trials(study: Path, store: Path) -> list[dict[str, Any]]:
    """Every trial of the leaderboard, without its times."""
    return [{**row, "seconds": 0} for row in report(study, store)["trials"]]


def require_sound(store: Path) -> None:
    for path in store.glob(f"stages/*/*/{MANIFEST}"):
        if path.parent.suffix != ".partial":
            FolderStore(store).verified(f"{path.parent.parent.name}/{path.parent.name}")


@pytest.mark.parametrize("kib", [24, 200])
def test_a_full_disk_ends_a_study_that_then_goes_on(
    disk: Path, tmp_path: Path, uninterrupted: list[dict[str, Any]], kib: int
) -> None:
    study, store, ballast = write_study(tmp_path, **SETTINGS), disk / "runs", disk / "ballast"
    store.mkdir()
    fill(ballast, leaving=kib * KIB)
    full = run(study, store)
    assert full.returncode == 1, full.stdout + full.stderr
    assert "No space left on device" in full.stderr and str(store) in full.stderr and "Traceback" not in full.stderr
    require_sound(store)
    ballast.unlink()
    done = run(study, store)
    assert done.returncode == 0, done.stderr
    assert trials(study, store) == uninterrupted


def test_a_full_disk_ends_a_study_on_a_cluster_that_then_goes_on(
    disk: Path, tmp_path: Path, uninterrupted: list[dict[str, Any]]
) -> None:
    study, store, ballast = write_study(tmp_path, **SETTINGS), disk / "runs", disk / "ballast"
    store.mkdir()
    fill(ballast, leaving=280 * KIB)
    full = run(study, store, "ray")
    assert full.returncode == 1, full.stdout + full.stderr
    assert f"{store}: [Errno 28]" in full.stderr and "run the same command again" in full.stderr
    require_sound(store)
    ballast.unlink()
    done = run(study, store, "ray")
    assert done.returncode == 0, done.stderr
    assert {row["trial"] for row in trials(study, store)} == {row["trial"] for row in uninterrupted}
    assert {row["state"] for row in trials(study, store)} == {"complete"}


def fill(path: Path, *, leaving: int) -> None:
    """Write ``path`` until so many bytes are free."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4 * KIB))
        file.truncate(file.tell() - leaving)


def test_a_disk_that_becomes_read_only_ends_a_study_that_then_goes_on(disk: Path, tmp_path: Path) -> None:
    study, store = write_study(tmp_path, **SETTINGS, finetune={"epochs": 30}), disk / "runs"
    arguments = command("run", study, "--store", store, "--backend", "local", "--tracking-uri", tracking(study))
    driver = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(lambda: any(store.glob("stages/finetune/*.partial/history.jsonl")) or driver.poll() is not None, 120)
    wait_until(lambda: remounted(disk, "ro") or driver.poll() is not None, 60)
    shown = driver.communicate(timeout=120)[0]
    assert driver.returncode == 1, shown
    assert "Read-only file system" in shown and str(store) in shown and "Traceback" not in shown
    refused = run(study, store)
    assert refused.returncode == 2 and "Read-only file system" in refused.stderr, refused.stderr
    assert remounted(disk, "rw")
    done = run(study, store)
    assert done.returncode == 0, done.stderr
    assert {row["state"] for row in trials(study, store)} == {"complete"}


def remounted(disk: Path, how: str) -> bool:
    """Is the disk read-only (writable) now? Not while a file is being written."""
    command = ["mount", "-o", f"remount,{how}", str(disk)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
