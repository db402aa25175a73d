"""A cluster on machines of one's own: hosts of this machine, launched with our own file by Ray's launcher."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from neuroiou_study.cluster.start import PORTS
from tests.cluster.hosts import Host, Network
from tests.cluster.launcher import BIN, ray
from tests.conftest import REPOSITORY
from tests.servers.process import accepts, free_ports
from tests.studies import call
from tests.waiting import wait_until

PATIENCE = 420
AGENT_PORT = PORTS["dashboard-agent-listen-port"]
HEAD, WORKERS = "11", ("12", "13", "14")
"""The last bytes of their addresses."""


@dataclass(frozen=True)
class Cluster:
    """Its hosts, the file it was launched with, and what a user outside has in the environment."""

    head: Host
    workers: dict[str, Host]
    file: Path
    environment: dict[str, str]

    def ray(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Ray's own commands, from outside."""
        return ray(self.environment, *arguments, patience_seconds=PATIENCE)

    @contextmanager
    def tunnel(self) -> Iterator[str]:
        """`ray dashboard`, while the block runs: the address at which the dashboard is reached here."""
        (port,) = free_ports(1)
        command = [str(BIN / "ray"), "dashboard", "--port", str(port), str(self.file)]
        with subprocess.Popen(
            command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as ssh:
            try:
                wait_until(lambda: accepts(port), 60)
                yield f"http://127.0.0.1:{port}"
            finally:
                ssh.terminate()


@contextmanager
def launched(
    rack: Network, folder: Path, on_nodes: Mapping[str, str], settings: Mapping[str, str]
) -> Iterator[Cluster]:
    """A cluster of a head and three workers with a CPU each, up while the block runs; ``settings`` are of its file."""
    names = dict(zip(("one", "two", "three"), WORKERS, strict=True))
    head = rack.boot("head", f"{rack.prefix}.{HEAD}", on_nodes)
    workers = {name: rack.boot(name, f"{rack.prefix}.{last}", on_nodes) for name, last in names.items()}
    token = folder / "token"
    assert call("cluster", "token", "--to", token).returncode == 0
    own = {"RAY_UP_enable_autoscaler_v2": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    own["TMPDIR"] = str(folder)  # the launcher leaves what it has resolved there
    file = rendered(folder, rack, token, settings)
    cluster = Cluster(head, workers, file, {**os.environ, **own})
    up = cluster.ray("up", "-y", str(file))
    assert up.returncode == 0, up.stdout + up.stderr
    wait_until(lambda: all(has_joined(each) for each in workers.values()), PATIENCE)  # they come after the head
    yield cluster


def has_joined(host: Host) -> bool:
    """Do its workers' agents listen, which they do when Ray's start has ended there?"""
    return any(each.port == AGENT_PORT for each in host.listening())


def rendered(folder: Path, rack: Network, token: Path, settings: Mapping[str, str]) -> Path:
    """The file for `ray up`, by the commands of the runbook."""
    values = {
        # Ray's launcher keeps a state by this name: two clusters of one name on this machine would be one.
        "name": f"onprem-{os.getpid()}",
        "docker": "false",  # a host here cannot run containers
        "path": str(BIN),
        "token": str(token),
        "onprem.head": f"{rack.prefix}.{HEAD}",
        "onprem.workers": str([f"{rack.prefix}.{last}" for last in WORKERS]).replace("'", ""),
        "onprem.ssh_user": "root",
        "onprem.ssh_private_key": str(rack.key),
        "onprem.cpus": "1",
        "onprem.gpus": "0",
        **settings,
    }
    options = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    file = folder / "onprem.yaml"
    source = REPOSITORY / "cluster" / "cluster.yaml"
    done = call("cluster", "render", source, "--provider", "onprem", *options, "--out", file)
    assert done.returncode == 0, done.stderr
    checked = call("cluster", "check", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return file
