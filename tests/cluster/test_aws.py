"""A cluster on AWS from our own file: launched for real, against an EC2 that is kept by moto and made of hosts here.

A study that asks for GPUs brings machines: spot ones, then one at the full price. One is announced to be taken, another
just goes; the study ends all the same, the machines go, and nothing is left.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.spec import StudySpec, load_study
from neuroiou_study.stages.kept import partial
from neuroiou_study.stages.ledger import Entry, Ledger
from neuroiou_study.stages.open_store import open_store
from neuroiou_study.stages.records import StudyRecords
from neuroiou_study.stages.store import Store
from tests.cluster.aws import PATIENCE, Place, is_head, market, place_on_aws, tags
from tests.cluster.hosts import need_hosts
from tests.conftest import REPOSITORY
from tests.servers.fixtures import need
from tests.servers.swift import missing_for_swift
from tests.studies import call, write_study
from tests.waiting import wait_until

STUDY: dict[str, Any] = {
    "finetune": {"epochs": 100},
    "controls": {"ce": {"name": "cross_entropy"}},
    "budget": {"max_trials": 2},
    # One worker for what is shared: several would meet by NCCL, which is not where there is no GPU.
    "resources": {"gpus_per_worker": 1, "cpus_per_worker": 1, "shared_workers": 1},
    "retry": {"crashes": 2},
}
SSH = ["ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i"]


@dataclass(frozen=True)
class Job:
    """A study that runs as a job, what it says, and what it has in the store."""

    place: Place
    process: "subprocess.Popen[str]"
    log: Path
    spec: StudySpec
    store: Store
    ledger: Ledger

    def has_ended(self) -> bool:
        assert self.place.cloud.failure is None
        return self.process.poll() is not None

    def happens(self, what: Callable[[], object]) -> None:
        """Return when ``what()``; fail if the job has ended before."""
        wait_until(lambda: self.has_ended() or bool(what()), PATIENCE, every_seconds=0.5)
        assert not self.has_ended(), self.log.read_text()[-3000:]

    def succeeds(self) -> None:
        try:
            wait_until(self.has_ended, PATIENCE, every_seconds=0.5)
        except AssertionError as error:
            attempts = "\n".join(map(str, sorted(self.ledger.entries(), key=lambda each: each.begun)))
            raise AssertionError(f"{error}\n{attempts}\n{self.place.says()}") from error
        assert self.process.returncode == 0, self.log.read_text()[-3000:]

    def attempts(self, *outcomes: str) -> list[Entry]:
        """Attempts at fine-tuning that are, or ended, as one of ``outcomes``, in the order of beginning."""
        found = [each for each in self.ledger.entries() if each.address.startswith("finetune/")]
        return sorted((each for each in found if each.outcome in outcomes), key=lambda each: each.begun)


def machine_of(entry: Entry) -> str:
    return entry.process.rpartition(" on ")[2]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    need(need_hosts() or missing_for_swift())
    with place_on_aws(tmp_path) as made:
        for name, value in made.environment.items():
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        yield made


@contextmanager
def submitted(place: Place, study: Path) -> Iterator[Job]:
    """The job, submitted on the head, and followed while the block runs."""
    submit = f"ray job submit --address http://127.0.0.1:8265 --working-dir {study.parent}"
    entry = f"python {REPOSITORY}/jobs/run_study.py {study.name}"
    token = "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/.ray/auth_token"
    head, log = place.head(), study.parent.with_suffix(".log")
    command = [*SSH, str(head.key), f"root@{head.address}", f"{token} {submit} -- {entry}"]
    spec, store = load_study(study), open_store(place.store)
    with log.open("w") as said, subprocess.Popen(command, stdout=said, stderr=said, text=True) as process:
        try:
            yield Job(place, process, log, spec, store, Ledger(spec.identity, store))
        finally:
            process.kill()


@contextmanager
def launched(place: Place) -> Iterator[None]:
    """The cluster is up while the block runs; afterwards nothing is left of it."""
    up = place.ray("up", "-y", str(place.file))
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        yield
    finally:
        down = place.ray("down", "-y", str(place.file))
    assert down.returncode == 0, down.stdout + down.stderr
    wait_until(lambda: not place.cloud.running() and not place.cloud.hosts, 60)
    assert place.cloud.failure is None


@pytest.mark.timeout(900)
def test_a_study_brings_its_machines_loses_two_and_leaves_none(place: Place, tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    study = write_study(tmp_path / "job", **STUDY)
    with launched(place):
        assert place.workers() == {}  # before anybody asks
        with submitted(place, study) as job:
            job.happens(lambda: len(place.workers()) == 3)
            taken = lose_one_with_notice(job)
            gone = lose_one_without(job, taken)
            job.succeeds()
        check_study(job, taken, gone, undisturbed(study))
        wait_until(lambda: not place.workers(), PATIENCE, every_seconds=0.5)  # without work they go
        check_growth(place)
    check_machines(place)


def lose_one_with_notice(job: Job) -> str:
    """A machine on which a trial fine-tunes is announced to be taken; when the trial has left, it is."""
    job.happens(lambda: job.attempts("running"))
    name = machine_of(job.attempts("running")[0])
    job.place.told.take(job.place.workers()[name]["PrivateIpAddress"])
    job.happens(lambda: name in map(machine_of, job.attempts("left")))
    job.place.end(name)
    return name


def lose_one_without(job: Job, taken: str) -> str:
    """Another one just goes, when its trial has a checkpoint in the store."""

    def elsewhere() -> list[str]:
        running = [each for each in job.attempts("running") if machine_of(each) != taken]
        return [machine_of(each) for each in running if job.store.objects.names(partial(each.address))]

    job.happens(elsewhere)
    name = elsewhere()[0]
    job.place.end(name)
    return name


def undisturbed(study: Path) -> Store:
    """The store of the same study, run here."""
    store = study.parent / "undisturbed"
    without_gpu = ("--set", "resources.gpus_per_worker=0")
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # as Ray gives a worker of one CPU
    done = call("run", study, "--store", store, "--backend", "local", *without_gpu, env=one_thread)
    assert done.returncode == 0, done.stdout + done.stderr
    return open_store(str(store))


def check_study(job: Job, taken: str, gone: str, undisturbed: Store) -> None:
    """Its results are those of a study that nobody disturbed; leaving is not a crash, and what was cut off goes on."""
    assert results(job.spec, job.store) == results(job.spec, undisturbed)
    assert [machine_of(each) for each in job.attempts("left")] == [taken]
    assert [machine_of(each) for each in job.attempts("running")] == [gone]
    assert len({each.address for each in job.attempts("complete")}) == len(job.attempts("complete")) == 4
    assert not any(each.outcome == "failed" for each in job.ledger.entries())


def results(spec: StudySpec, store: Store) -> dict[str, tuple[str, float | None]]:
    """Name of each trial → how it ended, and its score."""
    return {each.assignment.name: (each.state, each.score) for each in StudyRecords(spec, store)}


def check_machines(place: Place) -> None:
    """What EC2 was asked for has all that makes it safe, and that a bill is read by."""
    instances = place.cloud.seen.values()
    head, workers = [each for each in instances if is_head(each)], [each for each in instances if not is_head(each)]
    assert {(each["InstanceType"], market(each)) for each in head} == {("m7i.xlarge", "on-demand")}
    assert {(each["InstanceType"], market(each)) for each in workers} == {
        *(("g6.xlarge", "spot"), ("g6.xlarge", "on-demand"))
    }
    for each in instances:
        part = "head" if is_head(each) else "worker"
        assert each["IamInstanceProfile"]["Arn"].endswith(f":instance-profile/neuroiou-{part}")
        assert (each["ImageId"], each["SubnetId"]) == (place.account["ami"], place.account["subnet"])
        assert [group["GroupId"] for group in each["SecurityGroups"]] == [place.account["group"]]
        options = each["MetadataOptions"]
        assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 2)
        assert each["Volumes"] and all(volume["Encrypted"] for volume in each["Volumes"])
        for resource in (each, *each["Volumes"]):
            assert {"cluster": "neuroiou", "project": "neuroiou", "owner": "me"}.items() <= tags(resource).items()
    assert place.told.refused == []


def check_growth(place: Place) -> None:
    """From no worker to spot machines, and to one at the full price beyond what there may be of those."""
    workers = {name: market(each) for name, each in place.cloud.seen.items() if not is_head(each)}
    looks = [sorted(workers[name] for name in look & workers.keys()) for look in place.cloud.looks]
    assert looks[0] == []
    assert next(look for look in looks if look) == ["spot"]
    assert max(looks, key=len) == ["on-demand", "spot", "spot"]
