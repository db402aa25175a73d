"""Programs that tests start, kill and start again: what all servers of the tests' own share."""

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PATIENCE_SECONDS = 120
LOOPBACK = "127.0.0.1"


@dataclass
class Program:
    """A program and everything that it starts; output is appended to ``log``. As ``user`` if this is root."""

    command: list[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, in a session of its own."""
        owner = pwd.getpwnam(self.user) if self.user and os.getuid() == 0 else None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=owner and owner.pw_uid,
                group=owner and owner.pw_gid,
                extra_groups=[] if owner else None,
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL it and all its children; when this returns none of them runs any more."""
        if self.process is None:
            return
        if self.is_running:
            kill_all(_family(psutil.Process(self.process.pid)))
        self.process.wait()
        self.process = None

    def wait_until(self, answers: Callable[[], bool]) -> None:
        """Return as soon as ``answers()``. Raises RuntimeError with the end of the log if the program ends before."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not answers():
            if not self.is_running or time.monotonic() > end:
                raise RuntimeError(f"{' '.join(self.command)}: must answer: {self.log.read_text()[-3000:]}")
            time.sleep(0.02)


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL ``processes`` and return when none of them runs any more."""
    processes = list(processes)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    end = time.monotonic() + PATIENCE_SECONDS
    while any(is_running(process) for process in processes):
        assert time.monotonic() < end, processes
        time.sleep(0.005)


def is_running(process: psutil.Process) -> bool:
    """Whether it runs: one that has ended and that nobody has waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_ports(number: int) -> list[int]:
    """So many different free ports of the loopback interface."""
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def accepts(port: int, address: str = LOOPBACK) -> bool:
    """Whether somebody accepts connections on ``port`` of ``address``."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def _family(head: psutil.Process) -> list[psutil.Process]:
    """``head`` and all below it; ``head`` is stopped, so that it starts no more."""
    head.suspend()
    return [head, *head.children(recursive=True)]
