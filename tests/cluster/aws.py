"""A place on AWS for a cluster: an account with what must exist first, the file that is made for it, and a bucket."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.hosts import Host, network
from tests.cluster.imds import Metadata, metadata
from tests.cluster.launcher import BIN, ray
from tests.cluster.moto_ec2 import REGION, ZONE, Ec2, account, ec2
from tests.conftest import REPOSITORY
from tests.servers.swift import swift
from tests.studies import call

PATIENCE = 400
PREFIX = "10.77.2"
WORKERS = "[{name: l4, instance: g6.xlarge, cpus: 1, gpus: 1, spot: 2, on_demand: 1}]"


@dataclass(frozen=True)
class Place:
    """The cloud, the metadata service of its machines, the file for `ray up`, and a user's environment."""

    cloud: Ec2
    told: Metadata
    account: dict[str, str]
    store: str
    file: Path
    environment: dict[str, str]

    def ray(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Ray's own commands, from outside."""
        return ray(self.environment, *arguments, patience_seconds=PATIENCE)

    def workers(self) -> dict[str, dict[str, Any]]:
        """The instances that run, without the head."""
        return {name: each for name, each in self.cloud.running().items() if not is_head(each)}

    def head(self) -> Host:
        (name,) = (name for name, each in self.cloud.running().items() if is_head(each))
        return self.cloud.hosts[name]

    def says(self) -> str:
        """What the head knows of the cluster and of the job, for who has to find out what went wrong."""
        logs = "/tmp/ray/session_latest/logs"
        asked = "ray status", f"tail -n 40 {logs}/job-driver-*.log", f"tail -n 40 {logs}/monitor.log"
        return "\n".join(done.stdout + done.stderr for done in map(self.head().run, asked))

    def end(self, instance: str) -> None:
        """As the spot market does when the time is up."""
        self.cloud.books.terminate_instances(InstanceIds=[instance])


def tags(resource: dict[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in resource["Tags"]}


def is_head(instance: dict[str, Any]) -> bool:
    return tags(instance)["ray-node-type"] == "head"


def market(instance: dict[str, Any]) -> str:
    return str(instance.get("InstanceLifecycle", "on-demand"))


@contextmanager
def place_on_aws(folder: Path) -> Iterator[Place]:
    """A place without machines while the block runs."""
    with network(PREFIX) as rack, swift(rack.gateway) as s3, metadata(rack.gateway) as told:
        on_nodes = {**s3.environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT": told.endpoint}
        on_nodes["AWS_ENDPOINT_URL_S3"] = on_nodes.pop("AWS_ENDPOINT_URL")
        store = f"s3://{s3.make_bucket('studies')}/runs"
        with ec2(rack, on_nodes) as cloud:
            made = account(cloud, rack, "studies", rack.key)
            file = rendered(folder, made, rack.key, store)
            # The launcher leaves what it has resolved in TMPDIR.
            own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token"), "TMPDIR": str(folder)}
            yield Place(cloud, told, made, store, file, {**os.environ, **on_nodes, **cloud.environment, **own})


def rendered(folder: Path, made: dict[str, str], key: Path, store: str) -> Path:
    """The file for `ray up`, by the commands of the runbook."""
    token, file = folder / "token", folder / "aws-gpu.yaml"
    assert call("cluster", "token", "--to", token).returncode == 0
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
        "aws.workers": WORKERS,
    }
    options = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    source = REPOSITORY / "cluster" / "cluster.yaml"
    done = call("cluster", "render", source, "--provider", "aws", *options, "--out", file)
    assert done.returncode == 0, done.stderr
    checked = call("cluster", "check", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return file
