"""A lease: the right to make something alone, which ends when its holder dies.

A lease is a folder with a numbered file that its holder touches every few seconds. Whoever finds the highest number
released or abandoned takes over by creating the next number, which only one can do. The highest number is never
removed, so that no number is given twice: one who looked long ago creates a number that is not the highest, sees so,
and steps back.
The protocol needs nothing of a file system but create-if-absent.
"""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

HEARTBEAT_SECONDS = 5.0
ABANDONED_AFTER_SECONDS = 60.0
"""*Assumed*: a stopped disk or a long garbage collection must not look like a death."""

_RELEASED = "null\n"


class Lease:
    """A held lease; use it as a context manager. It is kept alive by a thread until it is released."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, daemon=True, name="lease")
        self._thread.start()

    def release(self) -> None:
        """Give the lease up, once."""
        self._released.set()
        self._thread.join()
        with contextlib.suppress(FileNotFoundError), self._path.open("r+") as file:
            file.write(_RELEASED)
            file.truncate()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def _keep_alive(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a file server that is away for a moment
                os.utime(self._path)


def try_lease(name: Path) -> Lease | None:
    """The lease called ``name``, or None while somebody alive has it."""
    name.mkdir(parents=True, exist_ok=True)  # its own, so that the leases of other names are not looked through
    last = max(_numbers(name), default=0)
    if last and not _is_free(_file(name, last)):
        return None
    mine = last + 1
    if not _create(_file(name, mine)):
        return None
    numbers = list(_numbers(name))
    if max(numbers) > mine:
        _file(name, mine).unlink(missing_ok=True)
        return None
    for number in numbers:
        if number < mine:
            _file(name, number).unlink(missing_ok=True)
    return Lease(_file(name, mine))


def holder(name: Path) -> str | None:
    """Who has the lease called ``name``, for a person to read; None if nobody has."""
    last = max(_numbers(name), default=0)
    if not last or _is_free(_file(name, last)):
        return None
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        owner = json.loads(_file(name, last).read_text())
        return f"process {owner['pid']} on {owner['host']}"
    return "somebody"


def _numbers(name: Path) -> Iterator[int]:
    for path in name.glob("*.lease"):
        yield int(path.name.removesuffix(".lease"))


def _file(name: Path, number: int) -> Path:
    return name / f"{number:06d}.lease"


def _create(path: Path) -> bool:
    try:
        with path.open("x") as file:
            json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
    except FileExistsError:
        return False
    return True


def _is_free(path: Path) -> bool:
    """Has the holder released the lease, or died?"""
    try:
        if _now(path.parent.parent) - path.stat().st_mtime > ABANDONED_AFTER_SECONDS:
            return True
        owner = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return False  # taken over or being written this moment
    return owner is None or (owner["host"] == socket.gethostname() and not _is_alive(owner["pid"]))


def _now(folder: Path) -> float:
    """The file server's time, by which it also dates a heartbeat: the clocks of hosts differ."""
    clock = folder / ".clock"
    clock.touch()
    return clock.stat().st_mtime


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
