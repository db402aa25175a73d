import json
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.stages import lease
from neuroiou_study.stages.lease import Lease
from neuroiou_study.stages.objects import FolderObjects
from tests.stages.processes import kill, received, run_together, started, wait_until

ROUNDS, ENTRIES = 50, 25


def try_lease(name: Path) -> Lease | None:
    return lease.try_lease(FolderObjects(name.parent), name.name)


def holder(name: Path) -> str | None:
    return lease.holder(FolderObjects(name.parent), name.name)


def file_of(name: Path) -> Path:
    """The lease's file, which must be the only one."""
    (path,) = name.glob("*.lease")
    return path


def taken(name: Path) -> Lease:
    mine = try_lease(name)
    assert mine is not None
    return mine


def test_a_lease_is_held_by_one_and_free_once_released(tmp_path: Path) -> None:
    name = tmp_path / "pretrain" / "0123"
    first = taken(name)
    assert try_lease(name) is None
    first.release()
    with taken(name):
        assert try_lease(name) is None
    taken(name).release()


def test_an_error_releases_a_lease(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), taken(tmp_path / "a"):
        raise RuntimeError
    taken(tmp_path / "a").release()


def test_leases_of_other_names_are_other_leases(tmp_path: Path) -> None:
    with taken(tmp_path / "a"), taken(tmp_path / "ab"), taken(tmp_path / "deeper" / "a"):
        assert try_lease(tmp_path / "a") is None


def test_a_number_is_never_given_twice_and_one_file_is_left(tmp_path: Path) -> None:
    for number in range(1, 6):
        with taken(tmp_path / "a"):
            assert file_of(tmp_path / "a").name == f"{number:06d}.lease"


def test_the_holder_can_be_named(tmp_path: Path) -> None:
    name = tmp_path / "a"
    assert holder(name) is None
    with taken(name):
        assert holder(name) == f"process {os.getpid()} on {os.uname().nodename}"
    assert holder(name) is None


def contend(index: int, barrier: Any, folder: Path) -> None:
    """Try for every lease in the same moment as the others, and write down which were won."""
    won = []
    for number in range(ROUNDS):
        barrier.wait()
        if try_lease(folder / f"{number:03d}") is not None:
            won.append(number)
    barrier.wait()  # a holder that ends is a dead holder
    (folder / f"won-{index}.json").write_text(json.dumps(won))


def winners(folder: Path) -> list[int]:
    return sorted(number for path in folder.glob("won-*.json") for number in json.loads(path.read_text()))


def test_one_of_many_wins(tmp_path: Path) -> None:
    run_together(contend, 8, tmp_path)
    assert winners(tmp_path) == list(range(ROUNDS))


def hold(connection: Connection, names: list[Path]) -> None:
    leases = [taken(name) for name in names]
    connection.send(len(leases))
    signal.pause()


def test_a_killed_holder_s_lease_goes_at_once_to_exactly_one(tmp_path: Path) -> None:
    names = [tmp_path / f"{number:03d}" for number in range(ROUNDS)]
    with started(hold, names) as (process, connection):
        assert received(connection) == ROUNDS
        assert try_lease(names[0]) is None
        assert holder(names[0]) == f"process {process.pid} on {os.uname().nodename}"
        kill(process)
    assert holder(names[0]) is None
    run_together(contend, 4, tmp_path)
    assert winners(tmp_path) == list(range(ROUNDS))


def go_in_and_out(index: int, barrier: Any, folder: Path) -> None:
    """Take and release one lease as fast as it goes; raises if another is inside at the same time."""
    barrier.wait()
    entered = 0
    while entered < ENTRIES:
        mine = try_lease(folder / "door")
        if mine is not None:
            with mine:
                os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
                (folder / "inside").unlink()
            entered += 1


def test_nobody_is_inside_with_another(tmp_path: Path) -> None:
    run_together(go_in_and_out, 4, tmp_path)
    assert file_of(tmp_path / "door").name == f"{4 * ENTRIES:06d}.lease"


def held_elsewhere(name: Path) -> Path:
    """The file of a lease whose holder is on another host, so that only its heartbeat can tell whether it lives."""
    name.mkdir()
    path = name / "000003.lease"
    path.write_text(json.dumps({"host": "elsewhere", "boot": "another", "pid": os.getpid()}))
    return path


def test_a_lease_on_another_host_is_free_once_its_heart_has_stopped(tmp_path: Path) -> None:
    path = held_elsewhere(tmp_path / "a")
    assert try_lease(tmp_path / "a") is None
    assert holder(tmp_path / "a") == f"process {os.getpid()} on elsewhere"
    long_ago = path.stat().st_mtime - lease.ABANDONED_AFTER_SECONDS - 1
    os.utime(path, (long_ago, long_ago))
    with taken(tmp_path / "a"):
        assert file_of(tmp_path / "a").name == "000004.lease"


def test_a_lease_that_is_being_written_is_not_free(tmp_path: Path) -> None:
    path = held_elsewhere(tmp_path / "a")
    for text in ("", '{"host": "else'):
        path.write_text(text)
        assert try_lease(tmp_path / "a") is None


def test_a_holder_s_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    with taken(tmp_path / "a"):
        path = file_of(tmp_path / "a")
        os.utime(path, (0, 0))
        wait_until(lambda: path.stat().st_mtime > 0)


def test_a_holder_that_was_taken_for_dead_does_not_disturb_its_successor(tmp_path: Path) -> None:
    late = taken(tmp_path / "a")
    os.utime(file_of(tmp_path / "a"), (0, 0))
    with taken(tmp_path / "a"):
        late.release()
        assert try_lease(tmp_path / "a") is None
        assert file_of(tmp_path / "a").name == "000002.lease"
