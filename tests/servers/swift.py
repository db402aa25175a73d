"""A real S3 server: OpenStack Swift with its S3 interface, on one disk, on loopback ports.

Four processes (proxy, account, container, object) that keep nothing in memory: killed and started again they have all
that they had confirmed.
"""

import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]

from tests.conftest import REPOSITORY
from tests.servers.process import LOOPBACK, Program, accepts, free_ports
from tests.servers.swift_settings import MODULES, REGION, USER, write_settings


@dataclass(frozen=True)
class Swift:
    """An S3 server, and the ``environment`` with which a program finds it and may use it."""

    address: str
    endpoint: str
    environment: dict[str, str]
    programs: dict[int, Program]  # by port

    def start(self) -> None:
        """Start it on its ports with what it had; it answers when this returns."""
        for program in self.programs.values():
            program.start()
        for port, program in self.programs.items():
            address = self.address if self.endpoint.endswith(f":{port}") else LOOPBACK
            program.wait_until(lambda port=port, address=address: accepts(port, address))  # type: ignore[misc]

    def kill(self) -> None:
        """SIGKILL all its processes."""
        for program in self.programs.values():
            program.kill()

    def client(self, **config: Any) -> Any:
        """A boto3 client of it, whatever this process's environment says."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
            config=Config(**config),
        )

    def make_bucket(self, name: str) -> str:
        """``name``, now a bucket."""
        self.client().create_bucket(Bucket=name)
        return name


def missing_for_swift() -> str | None:
    """What this machine lacks for it and where that comes from; None if it lacks nothing."""
    return None if find_spec("swift") else "needs OpenStack Swift (Linux only): pip install -e '.[dev]'"


@contextmanager
def swift(address: str = LOOPBACK) -> Iterator[Swift]:
    """A server at ``address`` that answers and has no buckets, while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="swift-"))
    server = _make(folder, address)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


def _make(folder: Path, address: str) -> Swift:
    secret = secrets.token_hex(16)
    ports = dict(zip(MODULES, free_ports(len(MODULES)), strict=True))
    write_settings(folder, ports, secret, address)
    endpoint = f"http://{address}:{ports['proxy']}"
    programs = {ports[kind]: _program(folder, kind) for kind in MODULES}
    return Swift(address, endpoint, _environment(endpoint, secret), programs)


def _program(folder: Path, kind: str) -> Program:
    command = [sys.executable, "-W", "ignore", "-m", MODULES[kind], str(folder / f"{kind}.conf")]
    return Program(command, folder / f"{kind}.log", {"PYTHONPATH": str(REPOSITORY)})


def _environment(endpoint: str, secret: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": USER,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
