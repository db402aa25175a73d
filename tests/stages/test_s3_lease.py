"""A lease in a bucket is what one in a folder is."""

import json
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.stages import lease
from neuroiou_study.stages.lease import Lease
from neuroiou_study.stages.s3_objects import S3Objects
from tests.stages.processes import kill, received, run_together, started, wait_until
from tests.stages.test_lease import winners

ROUNDS, ENTRIES = 8, 6


@pytest.fixture
def objects(bucket: str) -> S3Objects:
    return S3Objects(bucket, "store/")


def taken(objects: S3Objects, name: str) -> Lease:
    mine = lease.try_lease(objects, name)
    assert mine is not None
    return mine


def test_a_lease_is_held_by_one_and_free_once_released(objects: S3Objects) -> None:
    assert lease.holder(objects, "a") is None
    for number in range(1, 4):
        with taken(objects, "a"):
            assert lease.try_lease(objects, "a") is None
            assert lease.holder(objects, "a") == f"process {os.getpid()} on {os.uname().nodename}"
            assert objects.names("a") == [f"{number:06d}.lease"]
            taken(objects, "ab").release()
    assert lease.holder(objects, "a") is None


def contend(index: int, barrier: Any, objects: S3Objects, folder: Path) -> None:
    """Try for every lease in the same moment as the others, and write down which were won."""
    won = []
    for number in range(ROUNDS):
        barrier.wait()
        if lease.try_lease(objects, f"{number:03d}") is not None:
            won.append(number)
    barrier.wait()  # a holder that ends is a dead holder
    (folder / f"won-{index}.json").write_text(json.dumps(won))


def test_one_of_many_wins(objects: S3Objects, tmp_path: Path) -> None:
    run_together(contend, 4, objects, tmp_path)
    assert winners(tmp_path) == list(range(ROUNDS))


def hold(connection: Connection, objects: S3Objects) -> None:
    leases = [taken(objects, f"{number:03d}") for number in range(ROUNDS)]
    connection.send(len(leases))
    signal.pause()


def test_a_killed_holder_s_lease_goes_at_once_to_exactly_one(objects: S3Objects, tmp_path: Path) -> None:
    with started(hold, objects) as (process, connection):
        assert received(connection) == ROUNDS
        assert lease.try_lease(objects, "000") is None
        kill(process)
    assert lease.holder(objects, "000") is None
    run_together(contend, 3, objects, tmp_path)
    assert winners(tmp_path) == list(range(ROUNDS))


def go_in_and_out(index: int, barrier: Any, objects: S3Objects, folder: Path) -> None:
    """Take and release one lease as fast as it goes; raises if another is inside at the same time."""
    barrier.wait()
    entered = 0
    while entered < ENTRIES:
        mine = lease.try_lease(objects, "door")
        if mine is not None:
            with mine:
                os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
                (folder / "inside").unlink()
            entered += 1


def test_nobody_is_inside_with_another(objects: S3Objects, tmp_path: Path) -> None:
    run_together(go_in_and_out, 3, objects, tmp_path)
    assert objects.names("door")[-1] == f"{3 * ENTRIES:06d}.lease"


def test_a_lease_on_another_host_is_free_once_its_heart_has_stopped(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = {"host": "elsewhere", "boot": "another", "pid": os.getpid()}
    objects.write("a/000003.lease", json.dumps(elsewhere).encode())
    assert lease.try_lease(objects, "a") is None
    assert lease.holder(objects, "a") == f"process {os.getpid()} on elsewhere"
    monkeypatch.setattr(lease, "ABANDONED_AFTER_SECONDS", 0.5)
    wait_until(lambda: lease.holder(objects, "a") is None)
    with taken(objects, "a"):
        assert objects.names("a") == ["000004.lease"]


def test_a_holder_s_heart_beats(objects: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 1.5)
    with taken(objects, "a"):
        (name,) = objects.names("a")
        wait_until(lambda: (objects.age_seconds(f"a/{name}") or 0) >= 1)
        wait_until(lambda: (objects.age_seconds(f"a/{name}") or 0) < 1)


def test_a_holder_that_was_taken_for_dead_does_not_disturb_its_successor(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = taken(objects, "a")
    with monkeypatch.context() as patch:
        patch.setattr(lease, "ABANDONED_AFTER_SECONDS", -10.0)
        successor = taken(objects, "a")
    with successor:
        late.release()
        assert lease.try_lease(objects, "a") is None
        assert objects.names("a") == ["000002.lease"]
