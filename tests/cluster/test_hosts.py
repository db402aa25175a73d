"""Hosts on one machine are as apart as machines are, and leave nothing."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster.hosts import Network, need_hosts, network
from tests.cluster.listening import Listening
from tests.cluster.programs import run
from tests.servers.fixtures import need
from tests.waiting import wait_until

FIRST, SECOND = "10.77.1.11", "10.77.1.12"
_HELD = """
import sys
from tests.cluster.hosts import network
with network("10.77.1") as rack:
    print(rack.boot("killed", "10.77.1.11").program.process.pid, flush=True)
    sys.stdin.read()
"""
_CONNECT = "python -c 'import socket; socket.create_connection((\"{}\", {}), timeout=5)'"
# One byte comes from the server, then silence: a peer that is gone without a word looks like one that is quiet.
_SERVER = "import socket; s = socket.create_server(('{}', 7000)); c, _ = s.accept(); c.send(b'1'); c.recv(1)"
_CLIENT = """
import socket
with socket.create_connection(("{}", 7000)) as peer:
    print(peer.recv(1), flush=True)
    peer.settimeout(2)
    print(peer.recv(1))
"""


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """After the test this machine has the interfaces, namespaces, mounts and processes that it had."""
    need(need_hosts())
    before = machine()
    yield
    assert machine() == before


def machine() -> list[set[str]]:
    namespaces = set(run("ip", "netns", "list").splitlines())
    interfaces = {path.name for path in Path("/sys/class/net").iterdir()}
    mounts = {line for line in Path("/proc/mounts").read_text().splitlines() if "hosts-" in line}
    running = {str(process.pid) for process in psutil.process_iter() if "hosts-" in " ".join(command_line(process))}
    ours = [{name for name in names if name.startswith("h0a4d01")} for names in (namespaces, interfaces)]
    return [*ours, mounts, running]


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_hosts_are_machines_of_their_own(nothing_left: None, rack: Network) -> None:
    odd = {"JSON": json.dumps({"GPU": 1}), "WORDS": "a 'b' \\\" $HOME"}
    first, second = rack.boot("first", FIRST, odd), rack.boot("second", SECOND)
    assert [first.run("hostname").stdout, second.run("hostname").stdout] == ["first\n", "second\n"]
    assert first.run('printf %s "$JSON$WORDS"').stdout == odd["JSON"] + odd["WORDS"]
    assert second.run("echo $JSON").stdout == "\n"
    for place in ("~", "/tmp/ray", "/dev/shm"):
        assert first.run(f"touch {place}/mine").returncode == 0
        assert second.run(f"ls {place}").stdout == ""
    assert first.run("which python ray; cat /etc/hosts | tail -1").stdout.split() == [
        *(sys.executable, str(Path(sys.executable).with_name("ray"))),
        *(FIRST, "first"),
    ]
    assert first.run("exit 7").returncode == 7


def test_hosts_reach_each_other_and_this_machine_and_nothing_else(nothing_left: None, rack: Network) -> None:
    first, second = rack.boot("first", FIRST), rack.boot("second", SECOND)
    assert second.listening() == [Listening(22, SECOND, "sshd")]
    with socket.create_server((rack.gateway, 0)) as server:
        for address, port in ((SECOND, 22), server.getsockname()):
            assert first.run(_CONNECT.format(address, port)).returncode == 0
    assert "Error" in first.run(_CONNECT.format("192.0.2.77", 22)).stderr


def test_a_host_without_power_says_goodbye_to_nobody_and_keeps_its_disk(nothing_left: None, rack: Network) -> None:
    first, second = rack.boot("first", FIRST), rack.boot("second", SECOND)
    card = second.run("cat /sys/class/net/eth0/address").stdout
    second.run(f'echo kept > ~/note; nohup python -c "{_SERVER.format(SECOND)}" >/dev/null 2>&1 </dev/null &')
    wait_until(lambda: Listening(7000, SECOND, "python") in second.listening(), 20)
    command = [*first.inside, sys.executable, "-c", _CLIENT.format(SECOND)]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert client.stdout is not None and client.stdout.readline() == "b'1'\n"
    running = second.processes()
    assert len(running) == 1
    second.power_off()
    assert not any(process.is_running() for process in running) and second.processes() == []
    said, complaint = client.communicate(timeout=30)
    assert said == "" and "TimeoutError" in complaint
    second.power_on()
    assert second.run("cat ~/note").stdout == "kept\n"
    assert second.run("cat /sys/class/net/eth0/address").stdout == card != ""
    assert second.processes() == []


def test_a_host_that_does_not_come_up_says_why_and_leaves_nothing(nothing_left: None) -> None:
    with pytest.raises(RuntimeError, match="hostname"), network("10.77.1") as rack:
        rack.boot("first", FIRST)
        rack.boot("not_a_name!", SECOND)


def test_hosts_go_with_the_process_that_made_them(nothing_left: None) -> None:
    maker = subprocess.Popen([sys.executable, "-c", _HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    host = psutil.Process(int(maker.stdout.readline()))
    family = [host, *host.children(recursive=True)]
    assert len(family) > 1
    maker.send_signal(signal.SIGKILL)
    maker.communicate()
    wait_until(lambda: not any(process.is_running() for process in family), 20)
    with network("10.77.1") as rack:  # takes away what is left, and would wait if the former still had the prefix
        assert rack.boot("first", FIRST).run("hostname").stdout == "first\n"
