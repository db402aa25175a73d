"""A machine that the spot market takes hears of it and drains its own node, and no other."""

import json
import secrets
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from neuroiou_study.cluster.spot_notice import RESERVE_SECONDS, aws_notice, gcp_notice
from tests.cluster.hosts import Host, Network, need_hosts, network
from tests.cluster.imds import Metadata, metadata
from tests.servers.fixtures import need
from tests.servers.process import free_ports
from tests.waiting import wait_until

HEAD, WORKER = "10.77.3.11", "10.77.3.12"
PATIENCE = 120
LEFT = 90
SERVICE = {"aws": "AWS_EC2_METADATA_SERVICE_ENDPOINT", "gcp": "GCE_METADATA_HOST"}
# Somebody works on the worker, so that its node stays for as long as it may.
_OCCUPY = """
import ray
ray.init(address="auto", log_to_driver=False)
class Busy:
    def where(self):
        return ray.get_runtime_context().get_node_id()
print(ray.get(ray.remote(Busy).options(lifetime="detached", num_cpus=1).remote().where.remote()))
"""
_DRAINING = """
import json, ray
from ray._private.state import state
ray.init(address="auto", log_to_driver=False)
ray.nodes()
print(json.dumps(state.get_draining_nodes()))
"""


@dataclass(frozen=True)
class Cluster:
    """A head, and what its worker's watcher asks and writes."""

    rack: Network
    head: Host
    environment: dict[str, str]
    port: int

    def worker(self, cloud: str) -> Host:
        """A worker whose metadata service is that of ``cloud``."""
        address = f"{self.rack.gateway}:{self.port}"
        service = f"http://{address}" if cloud == "aws" else address
        host = self.rack.boot("worker", WORKER, {**self.environment, SERVICE[cloud]: service})
        succeed(host, f"ray start --address={HEAD}:6379 --num-cpus=1 --disable-usage-stats")
        return host

    @property
    def log(self) -> Path:
        return self.rack.folder / "worker" / "home" / "notice.log"

    def says(self, what: str) -> bool:
        return what in self.log.read_text()

    def draining(self) -> dict[str, int]:
        """Number of each node that has been told to go → when its time is up, in milliseconds since 1970."""
        nodes: dict[str, int] = json.loads(python(self.head, _DRAINING))
        return nodes


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need(need_hosts())
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    with network("10.77.3") as rack:
        head = rack.boot("head", HEAD, environment)
        succeed(head, "ray start --head --num-cpus=0 --include-dashboard=false --disable-usage-stats")
        yield Cluster(rack, head, environment, *free_ports(1))


def succeed(host: Host, command: str) -> str:
    done = host.run(command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def python(host: Host, program: str) -> str:
    """The last line that ``program`` prints there."""
    return succeed(host, f"python -c {shlex.quote(program)}").splitlines()[-1]


def watch(host: Host, cloud: str) -> None:
    """Begin to watch there, as the start command of a rendered file does."""
    program = f"python -m neuroiou_study.cluster.spot_notice {cloud}; echo exit $?"
    succeed(host, f"(setsid bash -c '{program}' </dev/null >~/notice.log 2>&1 &)")


@pytest.fixture
def told(cluster: Cluster) -> Iterator[Metadata]:
    with metadata(cluster.rack.gateway, cluster.port) as service:
        yield service


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_a_notice_drains_the_node_of_the_machine(cluster: Cluster, told: Metadata, cloud: str) -> None:
    worker = cluster.worker(cloud)
    try:
        node = python(cluster.head, _OCCUPY)
        watch(worker, cloud)
        told.take(HEAD, LEFT)  # another machine's
        wait_until(lambda: told.asked > 1, PATIENCE)
        assert cluster.draining() == {} and not cluster.log.read_text()
        told.take(WORKER, LEFT)
        begun = time.time()
        wait_until(lambda: cluster.says("exit"), PATIENCE)
        took, left = time.time() - begun, LEFT if cloud == "aws" else 30
        assert cluster.says("drained") and cluster.says("exit 0")
        ((drained, end),) = cluster.draining().items()
        assert drained == node
        assert left - RESERVE_SECONDS - 1 < end / 1000 - begun < left - RESERVE_SECONDS + took + 1
        assert told.refused == []
    finally:
        worker.power_off()


def test_a_service_that_is_away_or_out_of_order_is_asked_again(cluster: Cluster) -> None:
    worker = cluster.worker("aws")
    try:
        python(cluster.head, _OCCUPY)
        watch(worker, "aws")
        wait_until(lambda: cluster.says("does not answer"), PATIENCE)
        with metadata(cluster.rack.gateway, cluster.port) as told:
            told.nonsense = "<html>busy</html>"
            told.take(WORKER, LEFT)
            wait_until(lambda: told.asked > 1, PATIENCE)
            told.nonsense = None
            wait_until(lambda: cluster.says("exit"), PATIENCE)
        lines = [line.partition(" ")[2] for line in cluster.log.read_text().splitlines()]
        assert [line for line in lines if "does not answer" in line] == lines[:1]
        assert lines[-2:] == ["drained", "0"]
    finally:
        worker.power_off()


def test_a_watcher_ends_with_ray(cluster: Cluster, told: Metadata) -> None:
    worker = cluster.worker("aws")
    try:
        watch(worker, "aws")
        wait_until(lambda: told.asked > 0, PATIENCE)
        assert not cluster.log.read_text()
        succeed(worker, "ray stop --force")
        wait_until(lambda: cluster.says("exit 0"), PATIENCE)
        assert cluster.says("Ray has ended here")
    finally:
        worker.power_off()


def test_amazon_is_asked_with_a_session_token_and_google_with_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    with metadata("127.0.0.1") as told:
        monkeypatch.setenv(SERVICE["aws"], f"{told.endpoint}/")
        monkeypatch.setenv(SERVICE["gcp"], told.endpoint.removeprefix("http://"))
        assert (aws_notice(), gcp_notice()) == (None, None)
        told.take("127.0.0.1", 90)
        left = aws_notice()
        assert left is not None and 85 < left <= 90
        assert gcp_notice() == 30
        told.take("127.0.0.1", -5)
        assert aws_notice() == 0
        assert told.asked == 5 and told.refused == []


@pytest.mark.parametrize("nonsense", ["", "{}", "[]", "<html>", '{"time": "soon"}', '{"time": "2026-01-01T00:00:00"}'])
def test_nonsense_is_no_notice(monkeypatch: pytest.MonkeyPatch, nonsense: str) -> None:
    with metadata("127.0.0.1") as told:
        monkeypatch.setenv(SERVICE["aws"], told.endpoint)
        told.nonsense = nonsense
        with pytest.raises((ValueError, KeyError, TypeError)):
            aws_notice()


def test_a_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with metadata("127.0.0.1") as told:
        monkeypatch.setenv(SERVICE["aws"], told.endpoint)
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_ports(1)[0]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert aws_notice() is None and told.asked == 1
