"""Amazon EC2 on this machine: moto keeps the books, and each instance that runs there is a host of a network."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]

from tests.cluster.hosts import Host, Network
from tests.conftest import REPOSITORY
from tests.servers.process import Program, accepts, free_ports

REGION = "us-east-1"
ZONE = "us-east-1a"
POLICIES = REPOSITORY / "cluster" / "policies"
LOOK_SECONDS = 0.3
# One request after the other: moto's books are no book for several writers, and `python -m moto.server` lets them in.
_SERVER = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple(sys.argv[1], int(sys.argv[2]), DomainDispatcherApplication(create_backend_app), threaded=False)
"""


@dataclass
class Ec2:
    """The books, and the hosts by instance."""

    endpoint: str
    environment: dict[str, str]
    """With it a program finds this EC2 and may use it."""
    hosts: dict[str, Host] = field(default_factory=dict)
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the books said of every instance when it began, and of its ``Volumes``, in that order."""
    looks: list[frozenset[str]] = field(default_factory=list)
    """Which instances ran together, one after the other."""
    failure: Exception | None = None

    @cached_property
    def books(self) -> Any:
        """A boto3 client of EC2 here."""
        return self.client("ec2")

    def client(self, service: str) -> Any:
        """A boto3 client of ``service`` here."""
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        return boto3.client(service, endpoint_url=self.endpoint, region_name=REGION, **keys)

    def running(self) -> dict[str, dict[str, Any]]:
        """The instances that run now."""
        filters = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        found = self.books.describe_instances(Filters=filters)["Reservations"]
        return {each["InstanceId"]: each for reservation in found for each in reservation["Instances"]}

    def volumes(self, instance: str) -> list[dict[str, Any]]:
        """Its disks; those of an instance that has ended are gone."""
        filters = [{"Name": "attachment.instance-id", "Values": [instance]}]
        found: list[dict[str, Any]] = self.books.describe_volumes(Filters=filters)["Volumes"]
        return found


@contextmanager
def ec2(rack: Network, environment: dict[str, str]) -> Iterator[Ec2]:
    """An EC2 whose machines are on ``rack`` and have ``environment``, while the block runs."""
    (port,) = free_ports(1)
    server = Program([sys.executable, "-c", _SERVER, rack.gateway, str(port)], rack.folder / "moto.log")
    endpoint = f"http://{rack.gateway}:{port}"
    own = {f"AWS_ENDPOINT_URL_{name}": endpoint for name in ("EC2", "IAM", "STS")}
    made = Ec2(endpoint, own)
    ended = threading.Event()
    power = threading.Thread(target=_keep_power, args=(made, rack, {**environment, **own}, ended))
    try:
        server.start()
        server.wait_until(lambda: accepts(port, rack.gateway))
        power.start()
        yield made
    finally:
        ended.set()
        if power.ident is not None:
            power.join()
        server.kill()


def _keep_power(made: Ec2, rack: Network, environment: dict[str, str], ended: threading.Event) -> None:
    """Boot what runs in the books, and pull the plug of what does not. Hosts end with the network."""
    while made.failure is None and not ended.wait(LOOK_SECONDS):
        try:
            _power(made, rack, environment)
        except Exception as error:  # of whatever kind: the test says it
            made.failure = error


def _power(made: Ec2, rack: Network, environment: dict[str, str]) -> None:
    running = made.running()
    made.looks.append(frozenset(running))
    for name, instance in running.items():
        if name not in made.hosts:
            made.seen[name] = {**instance, "Volumes": made.volumes(name)}
            made.hosts[name] = rack.boot(name, instance["PrivateIpAddress"], environment)
    for name in made.hosts.keys() - running.keys():
        made.hosts.pop(name).power_off()


def account(made: Ec2, rack: Network, bucket: str, key_file: Path) -> dict[str, str]:
    """What `cluster/prerequisites.md` makes before the cluster; returns the values for the cluster file."""
    cloud, iam = made.books, made.client("iam")
    for part in ("head", "worker"):
        name = f"neuroiou-{part}"
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=(POLICIES / "trust.json").read_text())
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        for policy in ("store", "launch") if part == "head" else ("store",):
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=_policy(policy, bucket))
    network = f"{rack.prefix}.0/24"
    vpc = cloud.create_vpc(CidrBlock=network)["Vpc"]["VpcId"]
    subnet = cloud.create_subnet(VpcId=vpc, CidrBlock=network, AvailabilityZone=ZONE)["Subnet"]["SubnetId"]
    group = cloud.create_security_group(GroupName="neuroiou", Description="nodes", VpcId=vpc)["GroupId"]
    inside = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
    cloud.authorize_security_group_ingress(GroupId=group, IpPermissions=inside)
    cloud.import_key_pair(KeyName="neuroiou", PublicKeyMaterial=key_file.with_suffix(".pub").read_bytes())
    image = cloud.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    return {"vpc": vpc, "subnet": subnet, "group": group, "ami": image}


def _policy(name: str, bucket: str) -> str:
    text = (POLICIES / f"{name}.json").read_text()
    for placeholder, value in {"BUCKET": bucket, "CLUSTER": "neuroiou", "ACCOUNT": "123456789012"}.items():
        text = text.replace(placeholder, value)
    return json.dumps(json.loads(text))
