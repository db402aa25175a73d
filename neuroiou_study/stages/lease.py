"""A lease: the right to make something alone, which ends when its holder dies.

A lease is a numbered file that its holder touches every few seconds. Whoever finds the highest number abandoned takes
over by creating the next number, which only one can do. The same protocol needs nothing but create-if-absent.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

HEARTBEAT_SECONDS = 5.0
ABANDONED_AFTER_SECONDS = 60.0
"""*Assumed*: a stopped disk or a long garbage collection must not look like a death."""


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
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def _keep_alive(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._path)


def try_lease(name: Path) -> Lease | None:
    """The lease called ``name``, or None while somebody alive has it."""
    name.parent.mkdir(parents=True, exist_ok=True)
    held = sorted(_numbers(name))
    if held and not _is_abandoned(_file(name, held[-1])):
        return None
    mine = _file(name, held[-1] + 1 if held else 1)
    if not _create(mine):
        return None
    for number in held:
        _file(name, number).unlink(missing_ok=True)
    return Lease(mine)


def holder(name: Path) -> str | None:
    """Who has the lease called ``name``, for a person to read; None if nobody has."""
    numbers = sorted(_numbers(name))
    if not numbers:
        return None
    with contextlib.suppress(FileNotFoundError, ValueError):
        owner = json.loads(_file(name, numbers[-1]).read_text())
        return f"process {owner['pid']} on {owner['host']}"
    return "somebody"


def _numbers(name: Path) -> Iterator[int]:
    for path in name.parent.glob(f"{name.name}.*.lease"):
        yield int(path.name.removesuffix(".lease").rpartition(".")[2])


def _file(name: Path, number: int) -> Path:
    return name.with_name(f"{name.name}.{number:06d}.lease")


def _create(path: Path) -> bool:
    try:
        with path.open("x") as file:
            json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
    except FileExistsError:
        return False
    return True


def _is_abandoned(path: Path) -> bool:
    try:
        if time.time() - path.stat().st_mtime > ABANDONED_AFTER_SECONDS:
            return True
        owner = json.loads(path.read_text())
    except FileNotFoundError:
        return True
    except ValueError:
        return False  # being written this moment
    return owner["host"] == socket.gethostname() and not _is_alive(owner["pid"])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
