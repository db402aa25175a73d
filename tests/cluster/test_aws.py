"""A cluster on AWS from our own file: launched for real, against an EC2 that is kept by moto and made of hosts here.

A study that asks for GPUs brings machines: spot ones, then one at the full price. One is announced to be taken, another
just goes; the study ends all the same, the machines go, and nothing is left.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
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
from tests.cluster.hosts import Network, need_hosts, network
from tests.cluster.imds import Metadata, metadata
from tests.cluster.moto_ec2 import REGION, ZONE, Ec2, account, ec2
from tests.conftest import REPOSITORY
from tests.servers.fixtures import need
from tests.servers.swift import missing_for_swift, swift
from tests.studies import call, write_study
from tests.waiting import wait_until

PATIENCE = 400
BIN = Path(sys.executable).parent
STUDY: dict[str, Any] = {
    "finetune": {"epochs": 120},
    "controls": {"ce": {"name": "cross_entropy"}},
    "budget": {"max_trials": 2},
    "resources": {"gpus_per_worker": 1, "cpus_per_worker": 1},
    "retry": {"crashes": 2},
}


@dataclass(frozen=True)
class Place:
    """Everything that a cluster on AWS needs, and the file that was rendered for it."""

    rack: Network
    cloud: Ec2
    told: Metadata
    file: Path
    store: str
    account: dict[str, str]
    environment: dict[str, str]

    def ray(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """The launcher, as a user calls it from outside."""
        command = [str(BIN / "ray"), *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def workers(self) -> dict[str, dict[str, Any]]:
        """The instances that run, without the head."""
        return {name: each for name, each in self.cloud.running().items() if tags(each)["ray-node-type"] == "worker"}

    def head(self) -> str:
        (name,) = self.cloud.running().keys() - self.workers().keys()
        return name


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    need(need_hosts() or missing_for_swift())
    with network("10.77.2") as rack, swift(rack.gateway) as s3, metadata(rack.gateway) as told:
        on_nodes = {**s3.environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT": told.endpoint}
        on_nodes["AWS_ENDPOINT_URL_S3"] = on_nodes.pop("AWS_ENDPOINT_URL")
        with ec2(rack, on_nodes) as cloud:
            for name, value in {**on_nodes, **cloud.environment}.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("RAY_AUTH_MODE", "token")
            monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
            bucket = s3.make_bucket("studies")
            store, made = f"s3://{bucket}/runs", account(cloud, rack, bucket, rack.key)
            file = rendered(tmp_path, made, rack.key, store)
            yield Place(rack, cloud, told, file, store, made, dict(os.environ))


def rendered(folder: Path, made: dict[str, str], key: Path, store: str) -> Path:
    """The file for `ray up`, by the commands of the runbook."""
    token, file = folder / "token", folder / "aws-gpu.yaml"
    assert call("cluster", "token", "--to", token).returncode == 0
    workers = "[{name: l4, instance: g6.xlarge, cpus: 1, gpus: 1, spot: 2, on_demand: 1}]"
    values = {
        "docker": "false",  # a host here cannot run containers
        "path": str(BIN),
        "store": store,
        "tracking_uri": "null",
        "token": str(token),
        "idle_minutes": "1",
        "aws.region": REGION,
        "aws.zones": f"[{ZONE}]",
        "aws.ami": made["ami"],
        "aws.ssh_user": "root",
        "aws.ssh_private_key": str(key),
        "aws.subnets": f"[{made['subnet']}]",
        "aws.security_groups": f"[{made['group']}]",
        "aws.internal_ips": "true",
        "aws.workers": workers,
    }
    settings = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    source = REPOSITORY / "cluster" / "cluster.yaml"
    done = call("cluster", "render", source, "--provider", "aws", *settings, "--out", file)
    assert done.returncode == 0, done.stderr
    checked = call("cluster", "check", file)
    assert checked.returncode == 0, checked.stderr
    return file


def tags(resource: dict[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in resource["Tags"]}


def market(instance: dict[str, Any]) -> str:
    return str(instance.get("InstanceLifecycle", "on-demand"))


@contextmanager
def submitted(place: Place, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """The job, submitted on the head, and followed."""
    head = place.cloud.hosts[place.head()]
    submit = f"ray job submit --address http://127.0.0.1:8265 --working-dir {folder}"
    entry = f"python {REPOSITORY}/jobs/run_study.py study.yaml"
    options = [word for each in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null") for word in ("-o", each)]
    token = "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/.ray/auth_token"
    command = ["ssh", "-i", str(head.key), *options, f"root@{head.address}", f"{token} {submit} -- {entry}"]
    with (folder.parent / "job.log").open("w") as log:
        job = subprocess.Popen(command, stdout=log, stderr=log, text=True)
        try:
            yield job
        finally:
            job.kill()
            job.wait()


def attempts(place: Place, study: Path, outcome: str) -> list[Entry]:
    """Attempts at fine-tuning that are or ended as ``outcome``."""
    entries = Ledger(load_study(study).identity, open_store(place.store)).entries()
    return [each for each in entries if each.address.startswith("finetune/") and each.outcome == outcome]


def machine_of(entry: Entry) -> str:
    return entry.process.rpartition(" on ")[2]


@pytest.mark.timeout(900)
def test_a_study_brings_its_machines_loses_two_and_leaves_none(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    study = write_study(folder, **STUDY)
    up = place.ray("up", "-y", str(place.file))
    assert up.returncode == 0, up.stdout + up.stderr
    assert len(place.cloud.running()) == 1  # the head; no worker before anybody asks
    try:
        with submitted(place, folder) as job:
            log = folder.parent / "job.log"

            def happens(what: Any) -> None:
                wait_until(lambda: what() or job.poll() is not None or place.cloud.failure is not None, PATIENCE)
                assert place.cloud.failure is None and job.poll() is None, log.read_text()[-3000:]

            happens(lambda: len(place.workers()) == 3)
            taken = lose_one_with_notice(place, study, happens)
            gone = lose_one_without(place, study, happens, taken)
            wait_until(lambda: job.poll() is not None, PATIENCE)
            assert job.returncode == 0, log.read_text()[-3000:]
        check_study(place, study, taken, gone, undisturbed(study))
        check_machines(place)
        wait_until(lambda: not place.workers(), PATIENCE)  # without work they go
        check_growth(place)
    finally:
        down = place.ray("down", "-y", str(place.file))
    assert down.returncode == 0, down.stdout + down.stderr
    wait_until(lambda: not place.cloud.running() and not place.cloud.hosts, 60)


def lose_one_with_notice(place: Place, study: Path, happens: Any) -> str:
    """A machine on which a trial fine-tunes is announced to be taken; when the trial has left, it is."""
    happens(lambda: attempts(place, study, "running"))
    name = machine_of(attempts(place, study, "running")[0])
    place.told.take(place.workers()[name]["PrivateIpAddress"])
    happens(lambda: [each for each in attempts(place, study, "left") if machine_of(each) == name])
    place.cloud.client("ec2").terminate_instances(InstanceIds=[name])
    return name


def lose_one_without(place: Place, study: Path, happens: Any, taken: str) -> str:
    """Another one just goes, when its trial has a checkpoint in the store."""
    objects = open_store(place.store).objects

    def elsewhere() -> list[Entry]:
        running = [each for each in attempts(place, study, "running") if machine_of(each) != taken]
        return [each for each in running if objects.names(partial(each.address))]

    happens(elsewhere)
    name = machine_of(elsewhere()[0])
    place.cloud.client("ec2").terminate_instances(InstanceIds=[name])
    return name


def check_study(place: Place, study: Path, taken: str, gone: str, undisturbed: Path) -> None:
    """Its results are those of a study that nobody disturbed; leaving is not a crash, and what was cut off goes on."""
    spec = load_study(study)
    assert results(spec, open_store(place.store)) == results(spec, open_store(str(undisturbed)))
    entries = Ledger(spec.identity, open_store(place.store)).entries()
    tuned = [each for each in entries if each.address.startswith("finetune/")]
    assert [machine_of(each) for each in tuned if each.outcome == "left"] == [taken]
    assert len([each for each in tuned if each.outcome == "complete"]) == 4
    cut_off = {each.address: machine_of(each) for each in tuned if each.outcome == "running"}
    assert list(cut_off.values()) == [gone]
    assert not any(each.outcome == "failed" for each in entries)


def undisturbed(study: Path) -> Path:
    """The store of the same study, run here."""
    store = study.parent / "undisturbed"
    without_gpu = ("--set", "resources.gpus_per_worker=0")
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # as Ray gives a worker of one CPU
    done = call("run", study, "--store", store, "--backend", "local", *without_gpu, env=one_thread)
    assert done.returncode == 0, done.stdout + done.stderr
    return store


def results(spec: StudySpec, store: Store) -> dict[str, tuple[str, float | None]]:
    """Name of each trial → how it ended, and its score."""
    return {each.assignment.name: (each.state, each.score) for each in StudyRecords(spec, store)}


def check_machines(place: Place) -> None:
    """What EC2 was asked for has all that makes it safe, and that a bill is read by."""
    instances = place.cloud.seen.values()
    types = {(each["InstanceType"], market(each), tags(each)["ray-node-type"]) for each in instances}
    assert types == {
        *(("m7i.xlarge", "on-demand", "head"), ("g6.xlarge", "spot", "worker"), ("g6.xlarge", "on-demand", "worker"))
    }
    for each in instances:
        profile = f"instance-profile/neuroiou-{tags(each)['ray-node-type']}"
        assert each["IamInstanceProfile"]["Arn"].endswith(profile)
        assert (each["ImageId"], each["SubnetId"]) == (place.account["ami"], place.account["subnet"])
        assert [group["GroupId"] for group in each["SecurityGroups"]] == [place.account["group"]]
        metadata_options = each["MetadataOptions"]
        assert (metadata_options["HttpTokens"], metadata_options["HttpPutResponseHopLimit"]) == ("required", 2)
        assert each["Volumes"] and all(volume["Encrypted"] for volume in each["Volumes"])
        for bears_tags in (each, *each["Volumes"]):
            assert {"cluster": "neuroiou", "project": "neuroiou", "owner": "me"}.items() <= tags(bears_tags).items()
    assert place.told.refused == []


def check_growth(place: Place) -> None:
    """From no worker to spot machines, and to one at the full price beyond what there may be of those; then to none."""
    kinds = {name: market(each) for name, each in place.cloud.seen.items() if name != place.head()}
    looks = [sorted(kinds[name] for name in look & kinds.keys()) for look in place.cloud.looks]
    assert looks[0] == looks[-1] == []
    assert next(look for look in looks if look) == ["spot"]
    assert max(looks, key=len) == ["on-demand", "spot", "spot"]
