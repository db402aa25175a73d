"""A real Ray head of the tests' own: own ports, own folder, own token, ended by its pid."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class RayHead:
    """Where the head is, and the environment a program needs to use it."""

    address: str
    dashboard: str
    environment: dict[str, str]


@contextmanager
def ray_head(*, dashboard: bool, num_cpus: int = 2, num_gpus: int = 0) -> Iterator[RayHead]:
    """A head with ``num_cpus`` CPUs and ``num_gpus`` GPUs, whatever the machine has, while the block runs."""
    # Not tmp_path: the names of Ray's sockets may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    head = _make_head(folder)
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(
            [*_command(head, folder, dashboard, num_cpus), f"--num-gpus={num_gpus}"],
            env=head.environment,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_up(head, process, folder / "head.log", dashboard)
        yield head
    finally:
        _kill(process)
        shutil.rmtree(folder, ignore_errors=True)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End the head and all that it started; asked politely it takes half a minute."""
    head = psutil.Process(process.pid)
    family = [*head.children(recursive=True), head]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(timeout=60)


def _make_head(folder: Path) -> RayHead:
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(16))
    # `python` of a submitted job is found on the head's PATH.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "PATH": path}
    environment.pop("RAY_ADDRESS", None)
    return RayHead(f"127.0.0.1:{_free_port()}", f"http://127.0.0.1:{_free_port()}", environment)


def _command(head: RayHead, folder: Path, dashboard: bool, num_cpus: int) -> list[str]:
    return [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--disable-usage-stats"),
        *("--node-ip-address=127.0.0.1", f"--port={head.address.rpartition(':')[2]}", f"--num-cpus={num_cpus}"),
        *(f"--include-dashboard={str(dashboard).lower()}", f"--dashboard-port={head.dashboard.rpartition(':')[2]}"),
        f"--temp-dir={folder / 'ray'}",
    ]


def _wait_until_up(head: RayHead, process: "subprocess.Popen[bytes]", log: Path, dashboard: bool) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if "Ray runtime started" in log.read_text() and (not dashboard or _answers(head.dashboard)):
            return
        time.sleep(0.2)
    raise RuntimeError(f"ray start: exit {process.poll()}: {log.read_text()[-2000:]}")


def _answers(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_RESOURCES = """
import json, sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
end = time.monotonic() + float(sys.argv[2])
total = ray.cluster_resources()["CPU"]
while (free := ray.available_resources().get("CPU", 0)) != total and time.monotonic() < end:
    time.sleep(0.2)
print(json.dumps([free, total]))
"""


def free_and_all_cpus(head: RayHead, patience_seconds: float = 15) -> tuple[float, float]:
    """Free and existing CPUs of the cluster, once all are free or patience has run out."""
    command = [sys.executable, "-c", _RESOURCES, head.address, str(patience_seconds)]
    done = subprocess.run(command, env=head.environment, capture_output=True, text=True, check=True)
    free, total = json.loads(done.stdout.splitlines()[-1])
    return free, total
