"""SIGKILL of one process of a study, found by the name that Ray gives it."""

import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from tests.faults.points import Target
from tests.servers.process import is_running

TITLES: dict[Target, tuple[str, ...]] = {
    "trial": ("ray::ImplicitFunc", "ray::_alone"),
    "worker": ("ray::RayTrainWorker", "ray::execute."),
}
WORK = (*TITLES["trial"], *TITLES["worker"], "ray::Search", "ray::Confirmation", "ray::TrainController")
"""What runs only while a study does."""
PATIENCE_SECONDS = 60.0


def victim(target: Target, draw: float, driver: "subprocess.Popen[bytes]", raylet: psutil.Process) -> psutil.Process:
    """The process of ``driver``'s study that ``target`` means; ``draw`` says which, where there are several."""
    victims = [psutil.Process(driver.pid)] if target == "driver" else [raylet]
    if target in TITLES:
        victims = _wait_for(target, raylet, driver)
    return victims[int(draw * len(victims))]


def workers_of(raylet: psutil.Process, titles: Sequence[str]) -> list[psutil.Process]:
    """The processes of ``raylet`` whose titles begin so, the oldest first."""
    with suppress(psutil.NoSuchProcess):
        return sorted((child for child in raylet.children() if title(child).startswith(tuple(titles))), key=_age)
    return []


def title(process: psutil.Process) -> str:
    """Its name as ``ps`` shows it; empty if it has ended."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def raylet_below(process: psutil.Process) -> psutil.Process | None:
    """The raylet that ``process`` has started, if there is one."""
    with suppress(psutil.NoSuchProcess):
        return next((child for child in process.children(recursive=True) if _name(child) == "raylet"), None)
    return None


def own_raylet(driver: "subprocess.Popen[bytes]") -> psutil.Process:
    """The raylet of the cluster that ``driver`` starts for itself, as soon as there is one."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (found := raylet_below(psutil.Process(driver.pid))) is None:
        assert driver.poll() is None, "the command ended before it had a cluster"
        assert time.monotonic() < end, f"no raylet in {PATIENCE_SECONDS} s"
        time.sleep(0.005)
    return found


def _wait_for(target: Target, raylet: psutil.Process, driver: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The first of them at the end of a stage may be gone already: then the next that comes."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := workers_of(raylet, TITLES[target])):
        assert driver.poll() is None, f"{target}: none came before the study ended"
        assert time.monotonic() < end, f"{target}: none came in {PATIENCE_SECONDS} s"
        time.sleep(0.005)
    return found


def _age(process: psutil.Process) -> tuple[float, int]:
    return process.create_time(), process.pid


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def family(driver: "subprocess.Popen[bytes]") -> set[psutil.Process]:
    """A command and all that it has started; empty if it has ended."""
    with suppress(psutil.NoSuchProcess):
        head = psutil.Process(driver.pid)
        return {head, *head.children(recursive=True)}
    return set()


def survivors(processes: Sequence[psutil.Process], patience_seconds: float) -> list[psutil.Process]:
    """Those of ``processes`` that still run when patience has run out."""
    end = time.monotonic() + patience_seconds
    while (alive := [process for process in processes if is_running(process)]) and time.monotonic() < end:
        time.sleep(0.05)
    return alive
