"""Machines of one's own: a study on three hosts and a spare one, one of which is lost; who is let in; what is open."""

import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient

from neuroiou_study.spec import load_study
from neuroiou_study.stages.ledger import Entry, Ledger
from neuroiou_study.stages.open_store import open_store
from tests.cluster.hosts import Host, need_hosts, network
from tests.cluster.onprem import BIN, PATIENCE, Cluster, launched
from tests.conftest import REPOSITORY
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


def submitted(site: Site, dashboard: str, folder: Path, *options: str) -> "subprocess.Popen[str]":
    """The study in ``folder`` as a job, submitted from outside through the tunnel, and followed."""
    command = ["job", "submit", "--address", dashboard, "--working-dir", str(folder), "--"]
    entry = ["python", f"{REPOSITORY}/jobs/run_study.py", "study.yaml", *options]
    log = (folder.parent / f"{folder.name}.log").open("w")
    return subprocess.Popen(
        [str(BIN / "ray"), *command, *entry], env=site.cluster.environment, stdout=log, stderr=log, text=True
    )


def training(site: Site) -> list[Host]:
    """The workers' hosts on which a process of a group runs."""

    def is_training(host: Host) -> bool:
        return any(line.startswith("ray::RayTrainWorker") for line in command_lines(host))

    return [host for host in site.cluster.workers.values() if host.program.is_running and is_training(host)]


def fine_tuning(study: Path, store: str) -> list[Entry]:
    entries = Ledger(load_study(study).identity, open_store(store)).entries()
    return [each for each in entries if each.address.startswith("finetune/")]


def shown(study: Path, store: str) -> dict[str, Any]:
    """The leaderboard as data, without what depends on time."""
    import json

    done = call("report", study, "--store", store, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return {"arms": document["arms"], "trials": [without_time(each) for each in document["trials"]]}


def without_time(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if "seconds" not in key}


@pytest.mark.timeout(900)
def test_a_host_is_lost_and_the_leaderboard_is_the_same(site: Site, camvid_small: Path, tmp_path: Path) -> None:
    study, store = study_on(camvid_small, tmp_path / "job"), f"{site.bucket}/runs"
    with site.cluster.tunnel() as dashboard:
        job = submitted(site, dashboard, study.parent, "--store", f"{site.bucket}/undisturbed", "--tracking-uri", "")
        wait_until(lambda: job.poll() is not None, PATIENCE)
        assert job.returncode == 0, (tmp_path / "job.log").read_text()[-3000:]
        # Store and tracking server are the cluster's own, which its nodes have in their environment.
        job = submitted(site, dashboard, study.parent)

        def happens(what: Callable[[], object]) -> None:
            wait_until(lambda: bool(what()) or job.poll() is not None, PATIENCE)
            assert job.poll() is None, (tmp_path / "job.log").read_text()[-3000:]

        happens(lambda: fine_tuning(study, store) and len(training(site)) == 2)
        (attempt,) = fine_tuning(study, store)
        assert attempt.workers == 2
        training(site)[0].power_off()
        wait_until(lambda: job.poll() is not None, PATIENCE)
        assert job.returncode == 0, (tmp_path / "job.log").read_text()[-3000:]
    assert [each.outcome for each in fine_tuning(study, store)].count("complete") == 2
    assert len(fine_tuning(study, store)) > 2  # one was cut off
    assert shown(study, store) == shown(study, f"{site.bucket}/undisturbed")
    check_from_elsewhere(site, study, store, tmp_path)


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
    said = documented()
    for host in [site.cluster.head, *site.cluster.workers.values()]:
        if host.program.is_running:
            outside = [each for each in host.listening() if not each.address.startswith(("127.", "[::1]", "::1"))]
            unknown = [each for each in outside if not any(each.port in ports for ports in said)]
            assert len(outside) > 5 and unknown == []


def documented() -> list[range]:
    """The ports of the table in docs/cluster.md."""
    section = (REPOSITORY / "docs" / "cluster.md").read_text().partition("## Ports")[2]
    rows = re.findall(r"^\| (\d+)(?:–(\d+))? \|", section, re.MULTILINE)
    assert len(rows) > 5
    return [range(int(first), int(last or first) + 1) for first, last in rows]


@pytest.mark.timeout(400)
def test_down_leaves_nothing(site: Site) -> None:
    down = site.cluster.ray("down", "-y", str(site.cluster.file))
    assert down.returncode == 0, down.stdout + down.stderr
    workers = [each for each in site.cluster.workers.values() if each.program.is_running]
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
