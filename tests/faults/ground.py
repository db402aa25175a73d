"""Where the studies of a chaos run are run: a Ray cluster and servers, all of its own, for all of its studies."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from tests.faults.killing import WORK, raylet_below, title, workers_of
from tests.faults.study_under_test import StudyUnderTest
from tests.ray_head import RayHead, ray_head
from tests.servers.mlflow import mlflow_server
from tests.servers.postgres import Postgres, postgres
from tests.servers.swift import swift

BUCKET = "chaos"
_LOOK = """
import json, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
for _ in sys.stdin:
    free, total = (each.get("CPU", 0) for each in (ray.available_resources(), ray.cluster_resources()))
    groups = [each for each in ray.util.placement_group_table().values() if each["state"] != "REMOVED"]
    print(json.dumps([free, total, len(groups)]), flush=True)
"""


class Killable(Protocol):
    """A server that can be killed and started again."""

    def kill(self) -> None: ...

    def start(self) -> None: ...


@dataclass(frozen=True)
class Ground:
    """A cluster that all studies share, and the servers, unless there are none."""

    folder: Path
    head: RayHead
    raylet: psutil.Process
    looker: "subprocess.Popen[str]"
    servers: Mapping[str, Killable]
    tracking_uri: str

    def study(self, name: str, workers: int, *, on_servers: bool, own_cluster: bool) -> StudyUnderTest:
        """A study called ``name`` that nobody has run, in a store, databases and an experiment of its own."""
        folder = self.folder / name
        study = StudyUnderTest(
            folder,
            f"s3://{BUCKET}/{name}" if on_servers else str(folder / "runs"),
            workers,
            None if own_cluster else self.head.address,
            self.head.environment,
            ("--optuna-storage", self._database(name)) if on_servers else (),
            self.tracking_uri if on_servers else "",
        )
        study.write()
        return study

    def _database(self, name: str) -> str:
        server = self.servers["postgres"]
        assert isinstance(server, Postgres)
        return server.database(name)

    def left_behind(self, patience_seconds: float) -> Iterator[str]:
        """What of a study still runs on the shared cluster, or holds a part of it, when patience has run out."""
        end = time.monotonic() + patience_seconds
        while (left := self._left_behind()) and time.monotonic() < end:
            time.sleep(0.2)
        yield from left

    def _left_behind(self) -> list[str]:
        left = [f"process {process.pid}: {title(process)}: still runs" for process in workers_of(self.raylet, WORK)]
        assert self.looker.stdin is not None and self.looker.stdout is not None
        self.looker.stdin.write("look\n")
        self.looker.stdin.flush()
        free, total, num_groups = json.loads(self.looker.stdout.readline())
        left += [] if free == total else [f"cluster: {free} of {total} CPUs are free"]
        return left + ([f"cluster: {num_groups} placement groups are left"] if num_groups else [])


@contextmanager
def ground(folder: Path, *, with_servers: bool = True) -> Iterator[Ground]:
    """A ground in ``folder`` that is ready, while the block runs; ``$AWS_…`` and ``$NEUROIOU_CACHE`` are its own."""
    with ExitStack() as stack:
        own = {"NEUROIOU_CACHE": str(folder / "cache")}
        servers: dict[str, Killable] = {}
        uri = ""
        if with_servers:
            s3, database = stack.enter_context(swift()), stack.enter_context(postgres())
            own |= s3.environment
            place = f"s3://{s3.make_bucket(BUCKET)}/mlflow"
            tracking = stack.enter_context(mlflow_server(database.database("mlflow"), place, s3.environment))
            servers, uri = {"s3": s3, "postgres": database, "mlflow": tracking}, tracking.uri
        stack.enter_context(_environment(own))
        head = stack.enter_context(ray_head(dashboard=False))
        looker = stack.enter_context(_looker(head))
        yield Ground(folder, head, _raylet_of(head), looker, servers, uri)


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changes.items():
            patch.setenv(name, value)
        yield


@contextmanager
def _looker(head: RayHead) -> Iterator["subprocess.Popen[str]"]:
    """Connected to the cluster once, since that takes seconds; prints what is free whenever it gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", _LOOK, head.address],
        env={**os.environ, **head.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _raylet_of(head: RayHead) -> psutil.Process:
    port = f"--port={head.address.rpartition(':')[2]}"
    [started] = [child for child in psutil.Process().children() if port in title(child)]
    raylet = raylet_below(started)
    assert raylet is not None
    return raylet
