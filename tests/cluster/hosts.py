"""Hosts on one machine, each a network namespace with a name, processes, home, ``/tmp/ray`` and sshd of its own.

    with network("10.77.0") as rack:
        head = rack.boot("head", "10.77.0.11", {"NEUROIOU_STORE": "s3://bucket/runs"})
        head.run("hostname")

They share the file system, so this checkout and its ``python`` are on all of them. Nothing leads out of the network
but to the gateway, which is this machine.
"""

import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import psutil

from tests.cluster.disk import make_disk
from tests.cluster.listening import Listening, listening
from tests.cluster.programs import need_hosts, run
from tests.servers.process import Program, is_running

__all__ = ["Host", "Network", "need_hosts", "network"]

_SSH_OPTIONS = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes")


@dataclass(frozen=True)
class Host:
    """A host that has answered by ssh when it was booted."""

    name: str
    address: str
    bridge: str
    key: Path
    program: Program

    @property
    def inside(self) -> list[str]:
        """What makes a command run with this host's network, though not among its processes: for servers."""
        return ["ip", "netns", "exec", _link(self.address)]

    def run(self, command: str, patience_seconds: float = 120) -> "subprocess.CompletedProcess[str]":
        """Run ``command`` there by ssh, with the environment of the host."""
        options = [word for option in _SSH_OPTIONS for word in ("-o", option)]
        ssh = ["ssh", "-i", str(self.key), *options, f"{pwd.getpwuid(os.getuid()).pw_name}@{self.address}", command]
        return subprocess.run(ssh, capture_output=True, text=True, check=False, timeout=patience_seconds)

    def processes(self) -> list[psutil.Process]:
        """What runs on it beside sshd and its sessions."""
        family = psutil.Process(self.program.process.pid).children(recursive=True) if self.program.process else []
        return [each for each in family if is_running(each) and each.name() != "sshd"]

    def listening(self) -> list[Listening]:
        """On what its processes listen."""
        return listening(self.inside)

    def power_on(self) -> None:
        """Boot it, with the disk that it has. It ends with the thread that does this.

        Raises RuntimeError, with the host's own words, if it does not come up.
        """
        _connect(self.address, self.bridge)
        self.program.log.unlink(missing_ok=True)
        self.program.start()
        self.program.wait_until(lambda: "Server listening" in self.program.log.read_text())

    def power_off(self) -> None:
        """As if its plug were pulled: it says goodbye to nobody, and when this returns nothing of it runs."""
        _remove_link(self.address)
        self.program.kill()
        _ip_if_there("netns", "del", _link(self.address))


@dataclass(frozen=True)
class Network:
    """A network of hosts; ``prefix`` is the first three bytes of all their addresses."""

    prefix: str
    folder: Path
    at_end: ExitStack

    @property
    def gateway(self) -> str:
        """The address of this machine on the network, for servers that hosts shall reach."""
        return f"{self.prefix}.1"

    @property
    def bridge(self) -> str:
        """The name of its interface here."""
        return _link(self.gateway)

    @property
    def key(self) -> Path:
        """The private key with which every host lets its user in."""
        return self.folder / "key"

    def boot(self, name: str, address: str, environment: Mapping[str, str] | None = None) -> Host:
        """A host that answers; ``environment`` is what each of its sessions begins with.

        Raises RuntimeError as :meth:`Host.power_on` does.
        """
        disk = make_disk(self.folder / name, self.folder / "home", self.key, address, environment or {})
        host = Host(name, address, self.bridge, self.key, Program(_boot_command(address, disk), disk / "log"))
        self.at_end.callback(host.power_off)
        host.power_on()
        return host


@contextmanager
def network(prefix: str = "10.77.0") -> Iterator[Network]:
    """A network without hosts while the block runs; all that was booted on it is gone after it.

    A second one of the same prefix waits until the first is gone, so names made of addresses are never there twice;
    what a killed process has left of them is removed.
    """
    with ExitStack() as stack:
        stack.enter_context(_alone(prefix))
        made = Network(prefix, Path(tempfile.mkdtemp(prefix="hosts-")), stack)
        stack.callback(shutil.rmtree, made.folder)
        _remove_leftovers(prefix)
        stack.callback(_remove_leftovers, prefix)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made.key))
        _make_bridge(made)
        yield made


@contextmanager
def _alone(prefix: str) -> Iterator[None]:
    with Path(tempfile.gettempdir(), f"hosts-{prefix}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_bridge(made: Network) -> None:
    run("ip", "link", "add", made.bridge, "type", "bridge")
    run("ip", "addr", "add", f"{made.gateway}/24", "dev", made.bridge)
    run("ip", "link", "set", made.bridge, "up")


def _connect(address: str, bridge: str) -> None:
    """A namespace with ``address``, connected to ``bridge``."""
    name = _link(address)
    run("ip", "netns", "add", name)
    # A machine that is booted again has its old card: the others remember its number for longer than a boot takes.
    card = ["address", f"02:00:{name[1:3]}:{name[3:5]}:{name[5:7]}:{name[7:]}"]
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", *card, "netns", name)
    run("ip", "link", "set", name, "master", bridge, "up")
    run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
    for device in ("lo", "eth0"):
        run("ip", "-n", name, "link", "set", device, "up")
    # Leads nowhere: programs learn their own address by asking for the way to any other.
    run("ip", "-n", name, "route", "add", "default", "dev", "eth0")


def _boot_command(address: str, disk: Path) -> list[str]:
    # With pdeathsig a host does not outlive a test process that is killed.
    own = ["--pid", "--mount", "--uts", "--ipc", "--fork", "--mount-proc", "--kill-child=KILL"]
    last = ["setpriv", "--pdeathsig", "KILL", "unshare", *own, "bash", str(disk / "init")]
    return ["ip", "netns", "exec", _link(address), *last]


def _remove_leftovers(prefix: str) -> None:
    names = {_link(f"{prefix}.{last}") for last in range(1, 255)}
    for line in run("ip", "netns", "list").splitlines():
        if line.split()[0] in names:
            run("ip", "netns", "del", line.split()[0])
    for name in names & {path.name for path in Path("/sys/class/net").iterdir()}:
        _ip_if_there("link", "del", name)


def _remove_link(address: str) -> None:
    _ip_if_there("link", "del", _link(address))


def _ip_if_there(*words: str) -> None:
    """What is removed may have gone by itself, or may never have been made."""
    subprocess.run(["ip", *words], capture_output=True, check=False)


def _link(address: str) -> str:
    """The name of a host's namespace and of its link: at most 15 characters, by the address alone."""
    return f"h{int(IPv4Address(address)):08x}"
