"""`cluster/prerequisites.md`: the commands for Amazon make what they say, in an emulator; the others are shell."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from tests.conftest import REPOSITORY
from tests.servers.process import Program, accepts, free_ports

PAGE = (REPOSITORY / "cluster" / "prerequisites.md").read_text()
ADDRESS, CLUSTER, BUCKET = "203.0.113.7", "neuroiou", "my-bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}


def blocks(section: str) -> list[str]:
    """The shell of a section of the page, or of the whole."""
    text = PAGE.partition(f"## {section}\n")[2].partition("\n## ")[0] if section else PAGE
    return re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def amazon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables with which everything of Amazon's is an emulator's."""
    folder, (port,) = tmp_path_factory.mktemp("moto"), free_ports(1)
    server = Program([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], folder / "moto.log")
    try:
        server.start()
        server.wait_until(lambda: accepts(port))
        yield {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    finally:
        server.kill()


IMAGE = "aws ssm get-parameter"
"""Begins the block that asks for a machine image of Amazon's, which the emulator does not have."""


def typed(text: str, amazon: dict[str, str], home: Path) -> "subprocess.CompletedProcess[str]":
    """What comes of ``text`` in the shell of somebody at ``home``."""
    shell = f'aws() {{ "{sys.executable}" -m tests.cluster.aws_command "$@"; }}\n'
    environment = {**os.environ, **amazon, "HOME": str(home), "MY_ADDRESS": ADDRESS}
    command = ["bash", "-euo", "pipefail", "-c", shell + text]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def home(amazon: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of somebody who has typed all of the section."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ssh").mkdir()
    done = typed("\n".join(each for each in blocks("AWS") if not each.startswith(IMAGE)), amazon, home)
    assert done.returncode == 0, done.stdout + done.stderr
    return home


@pytest.fixture
def client(home: Path, amazon: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in amazon.items():
        monkeypatch.setenv(name, value)
    return boto3.client


def test_the_bucket_is_private_and_tidies_up(client: Any) -> None:
    access = client("s3").get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert len(access) == 4 and all(access.values())
    [rule] = client("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7} and rule["Status"] == "Enabled"


def test_each_part_has_its_role_and_the_least_that_works(client: Any) -> None:
    iam = client("iam")
    for part, names in (("head", ["launch", "store"]), ("worker", ["store"])):
        role = f"{CLUSTER}-{part}"
        assert sorted(iam.list_role_policies(RoleName=role)["PolicyNames"]) == names
        [held] = iam.get_instance_profile(InstanceProfileName=role)["InstanceProfile"]["Roles"]
        assert held["RoleName"] == role
    policy = json.dumps(iam.get_role_policy(RoleName=f"{CLUSTER}-worker", PolicyName="store")["PolicyDocument"])
    assert f"arn:aws:s3:::{BUCKET}" in policy and "ACCOUNT" not in policy


def test_only_its_own_and_one_address_get_in(client: Any) -> None:
    filters = [{"Name": "group-name", "Values": [CLUSTER]}]
    [group] = client("ec2").describe_security_groups(Filters=filters)["SecurityGroups"]
    rules = {rule["IpProtocol"]: rule for rule in group["IpPermissions"]}
    assert sorted(rules) == ["-1", "tcp"]
    assert [each["GroupId"] for each in rules["-1"]["UserIdGroupPairs"]] == [group["GroupId"]]
    assert not rules["-1"]["IpRanges"] and not rules["tcp"]["UserIdGroupPairs"]
    assert [each["CidrIp"] for each in rules["tcp"]["IpRanges"]] == [f"{ADDRESS}/32"]
    assert (rules["tcp"]["FromPort"], rules["tcp"]["ToPort"]) == (22, 22)


def test_the_key_is_its_owner_s(home: Path) -> None:
    key = home / ".ssh" / f"{CLUSTER}.pem"
    assert "PRIVATE KEY" in key.read_text() and key.stat().st_mode & 0o777 == 0o600


def test_the_question_for_an_image_is_one(amazon: dict[str, str], tmp_path: Path) -> None:
    [question] = [each for each in blocks("AWS") if each.startswith(IMAGE)]
    done = typed(f"REGION=us-east-1\n{question}", amazon, tmp_path)
    assert "ParameterNotFound" in done.stderr, "asked as Amazon takes it; the emulator has no such image"


@pytest.mark.parametrize("wrong", ["s3api make-bucket --bucket x", "s3api create-bucket --bukket x"])
def test_a_wrong_command_would_be_noticed(wrong: str, amazon: dict[str, str], tmp_path: Path) -> None:
    assert typed(f"aws {wrong}", amazon, tmp_path).returncode != 0


@pytest.mark.parametrize("block", blocks(""), ids=lambda block: block.splitlines()[0][:40])
def test_every_block_is_shell(block: str) -> None:
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_says_that_no_cloud_was_reached() -> None:
    assert "Nothing here was run against a real cloud" in PAGE and "tests/cluster/test_prerequisites.py" in PAGE
