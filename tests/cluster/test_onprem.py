"""Machines of one's own: a study on three hosts and a spare one, one of which is lost; who is let in; what is open."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from neuroiou_study.spec import load_study
from neuroiou_study.stages.ledger import Entry, Ledger
from neuroiou_study.stages.open_store import open_store
from neuroiou_study.stages.s3_store import S3Store
from tests.cluster.hosts import Host, need_hosts, network
from tests.cluster.launcher import BIN
from tests.cluster.onprem import PATIENCE, Cluster, has_joined, launched
from tests.cluster.runbook_ports import documented, unexplained
from tests.conftest import REPOSITORY
from tests.faults.checks import ledger_is_right, nothing_held
from tests.faults.study_under_test import StudyUnderTest
from tests.servers.fixtures import need
from tests.servers.mlflow import mlflow_server
from tests.servers.process import accepts
from tests.servers.swift import missing_for_swift, swift
from tests.studies import call, write_study
from tests.waiting import wait_until

GONE_SECONDS = 60


@dataclass(frozen=True)
class Site:
    """A cluster, the bucket of its store, and its tracking server."""

    cluster: Cluster
    bucket: str
    tracking: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need(need_hosts() or missing_for_swift())
    folder = tmp_path_factory.mktemp("onprem")
    with (
        network("10.77.4") as rack,
        swift(rack.gateway) as s3,
        mlflow_server(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"), address=rack.gateway) as tracking,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        bucket = f"s3://{s3.make_bucket('studies')}"
        settings = {"store": f"{bucket}/runs", "tracking_uri": tracking.uri}
        with launched(rack, folder, s3.environment, settings) as cluster:
            yield Site(cluster, bucket, tracking.uri)


def study_on(data: Path, folder: Path) -> Path:
    """A study of CamVid whose trials have two workers each, of which no host has room for two."""
    folder.mkdir()
    return write_study(
        folder,
        data={"name": "camvid", "root": str(data), "size": [48, 64]},
        pretrain={"epochs": 1, "lr": 3e-3},
        finetune={"epochs": 25},
        controls={"ce": {"name": "cross_entropy"}},
        budget={"max_trials": 1},
        resources={"workers": 2, "trials_at_once": 1, "shared_workers": 2},
    )


@dataclass(frozen=True)
class Job:
    """A job that was submitted from outside and is followed there."""

    process: "subprocess.Popen[str]"
    log: Path

    def wait_for(self, what: Callable[[], object]) -> None:
        """Return when ``what()`` is true; the job must run until then."""
        wait_until(lambda: bool(what()) or self.process.poll() is not None, PATIENCE)
        assert self.process.poll() is None, self.log.read_text()[-3000:]

    def wait(self) -> None:
        """Return when it has succeeded."""
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()[-3000:]


@contextmanager
def submitted(site: Site, dashboard: str, folder: Path, *options: str) -> Iterator[Job]:
    """The study in ``folder`` as a job, submitted through the tunnel; nobody follows it after the block."""
    command = ["job", "submit", "--address", dashboard, "--working-dir", str(folder), "--"]
    entry = ["python", f"{REPOSITORY}/jobs/run_study.py", "study.yaml", *options]
    log = folder.parent / f"{folder.name}.log"
    with log.open("w") as out:
        ray = [str(BIN / "ray"), *command, *entry]
        process = subprocess.Popen(ray, env=site.cluster.environment, stdout=out, stderr=out, text=True)
        try:
            yield Job(process, log)
        finally:
            process.kill()
            process.wait()


def running(site: Site) -> list[Host]:
    """The workers' hosts that have power."""
    return [host for host in site.cluster.workers.values() if host.program.is_running]


def training(site: Site) -> list[Host]:
    """The workers' hosts on which a process of a group runs."""
    return [host for host in running(site) if any("ray::RayTrainWorker" in line for line in command_lines(host))]


def fine_tuning(study: Path, store: str) -> list[Entry]:
    entries = Ledger(load_study(study).identity, open_store(store)).entries()
    return [each for each in entries if each.address.startswith("finetune/")]


def has_checkpoint(store: str) -> bool:
    """Has the stage that is being made kept a state to go on from?"""
    opened = open_store(store)
    assert isinstance(opened, S3Store)
    return any(re.fullmatch(r"stages/finetune/\w+\.partial/manifest\.json", name) for name in opened.objects.listed())


def leaderboard(study: Path, store: str) -> dict[str, Any]:
    """The leaderboard as data, without what depends on time."""
    done = call("report", study, "--store", store, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return {"arms": document["arms"], "trials": [without_time(each) for each in document["trials"]]}


def without_time(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if "seconds" not in key}


@pytest.mark.timeout(900)
def test_a_host_is_lost_and_the_leaderboard_is_the_same(site: Site, camvid_small: Path, tmp_path: Path) -> None:
    study, store, undisturbed = study_on(camvid_small, tmp_path / "job"), f"{site.bucket}/runs", f"{site.bucket}/quiet"
    with site.cluster.tunnel() as dashboard:
        with submitted(site, dashboard, study.parent, "--store", undisturbed, "--tracking-uri", "") as job:
            job.wait_for(lambda: len(training(site)) == 2 and num_of_torch(site))
            assert [unexplained(host) for host in (site.cluster.head, *running(site))] == [[]] * 4
            job.wait()
        # Store and tracking server are the cluster's own, which its nodes have in their environment.
        with submitted(site, dashboard, study.parent) as job:
            job.wait_for(lambda: has_checkpoint(store) and len(training(site)) == 2)
            (attempt,) = fine_tuning(study, store)
            assert attempt.workers == 2
            lost = training(site)[0]
            lost.power_off()
            job.wait_for(lambda: len(training(site)) == 2)
            lost.power_on()
            job.wait()
    check_nothing_is_different(study, store, undisturbed)
    check_from_elsewhere(site, study, store, tmp_path)
    # The head looks for it, and begins Ray there again.
    wait_until(lambda: has_joined(lost), PATIENCE)


def num_of_torch(site: Site) -> int:
    """On how many ports the workers of a group wait for each other."""
    found = [each for host in running(site) for each in host.listening()]
    return sum(each.port >= 32768 and each.process.startswith("ray::") for each in found)


def check_nothing_is_different(study: Path, store: str, undisturbed: str) -> None:
    """Two workers on two hosts have made the same trials and files, bit by bit; one attempt was in vain."""
    found, reference = (StudyUnderTest(study.parent, where, 2, None, {}) for where in (store, undisturbed))
    assert found.trials() == reference.trials() and len(found.trials()) == 2
    assert found.files() == reference.files() and len(found.files()) > 5
    assert [*nothing_held(found), *ledger_is_right(found, num_killed=1)] == []
    assert len(fine_tuning(study, store)) == 3 and len(fine_tuning(study, undisturbed)) == 2
    assert leaderboard(study, store) == leaderboard(study, undisturbed)


def check_from_elsewhere(site: Site, study: Path, store: str, folder: Path) -> None:
    """What a user sees afterwards on another machine."""
    assert "complete" in call("status", study, "--store", store).stdout
    assert call("export", study, "--store", store, "--to", folder / "exported").returncode == 0
    client = MlflowClient(site.tracking)
    names = [each.name for each in client.search_experiments()]
    assert load_study(study).identity in names


def test_nobody_gets_in_without_the_token(site: Site) -> None:
    head, other = site.cluster.head, next(each for each in site.cluster.workers.values() if each.program.is_running)
    ask = "python -c \"import urllib.request as r; print(r.urlopen('{}', timeout=10).status)\""
    refused = head.run(ask.format("http://127.0.0.1:8265/api/jobs/"))
    assert "401" in refused.stderr and refused.returncode == 1
    # The dashboard is on the head's loopback address: from another host nobody answers.
    assert not accepts(8265, head.address)
    agent = other.run(ask.format(f"http://{head.address}:6385/api/jobs/"))
    assert agent.returncode == 1 and re.search("401|404", agent.stderr), agent.stderr
    join = f"RAY_AUTH_MODE=disabled python -c \"import ray; ray.init('{head.address}:6379', logging_level=50)\""
    stranger = other.run(join)
    assert stranger.returncode != 0 and re.search("[Uu]nauth|[Tt]oken", stranger.stdout + stranger.stderr)
    with site.cluster.tunnel() as dashboard, pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"{dashboard}/api/jobs/", timeout=30)
    assert error.value.code == 401


def test_every_open_port_is_in_the_runbook(site: Site) -> None:
    # While a group trains there are more: the test above looks at them.
    for host in (site.cluster.head, *running(site)):
        assert len(host.listening()) > 7 and unexplained(host) == []
    seen = [found for host in (site.cluster.head, *running(site)) for found in host.listening()]
    rarely = range(10002, 61000)
    assert [row for row in documented() if row.ports[0] not in rarely and not any(map(row.explains, seen))] == []


@pytest.mark.timeout(400)
def test_down_leaves_nothing(site: Site) -> None:
    down = site.cluster.ray("down", "-y", str(site.cluster.file))
    assert down.returncode == 0, down.stdout + down.stderr
    workers = running(site)
    for worker in workers:  # Ray's launcher ends the head alone
        stopped = worker.run(f"{BIN}/ray stop")
        assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    for host in [site.cluster.head, *workers]:
        wait_until(lambda host=host: of_ray(host) == [], GONE_SECONDS)  # type: ignore[misc]


def of_ray(host: Host) -> list[str]:
    """Command lines of what is Ray's on ``host``, the workers of studies among it."""
    return [line for line in command_lines(host) if line.startswith("ray::") or "/ray/" in line]


def command_lines(host: Host) -> list[str]:
    """Of everything that runs on ``host`` and has not ended meanwhile."""
    lines = []
    for each in host.processes():
        with suppress(psutil.NoSuchProcess):
            lines.append(" ".join(each.cmdline()))
    return lines
