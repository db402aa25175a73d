"""A lease: the right to make something alone, which ends when its holder dies.

A lease is a folder of objects with a numbered one that its holder touches every few seconds. Whoever finds the highest
number released or abandoned takes over by creating the next number, which only one can do. The highest number is never
removed, so that no number is given twice: one who looked long ago creates a number that is not the highest, sees so,
and steps back.
"""

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import TracebackType

from neuroiou_study.stages.objects import Objects

HEARTBEAT_SECONDS = 5.0
ABANDONED_AFTER_SECONDS = 60.0
"""*Assumed*: a stopped disk or a long garbage collection must not look like a death."""

_RELEASED = b"null\n"


class Lease:
    """A held lease; use it as a context manager. It is kept alive by a thread until it is released."""

    def __init__(self, objects: Objects, name: str) -> None:
        self._objects, self._name = objects, name
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, daemon=True, name="lease")
        self._thread.start()

    def release(self) -> None:
        """Give the lease up, once. Where the store is away it ends by itself, as a dead holder's does."""
        self._released.set()
        self._thread.join()
        objects = self._objects.hurried()
        try:
            if objects.read(self._name) is not None:
                objects.write(self._name, _RELEASED)
        except OSError as error:
            logging.getLogger(__name__).warning("%s: %s: the lease ends by itself in a minute", self._name, error)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def _keep_alive(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):  # a store that is away for a moment
                self._objects.touch(self._name)


def try_lease(objects: Objects, name: str) -> Lease | None:
    """The lease called ``name``, or None while somebody alive has it."""
    last = max(_numbers(objects, name), default=0)
    if last and not _is_free(objects, _object(name, last)):
        return None
    mine = last + 1
    if not objects.create(_object(name, mine), _owner()):
        # A server that died between writing and listing has a number that no listing shows.
        if not _is_free(objects, _object(name, mine)):
            return None
        mine += 1
        if not objects.create(_object(name, mine), _owner()):
            return None
    numbers = list(_numbers(objects, name))
    if max(numbers, default=mine) > mine:
        objects.delete(_object(name, mine))
        return None
    for number in numbers:
        if number < mine:
            objects.delete(_object(name, number))
    return Lease(objects, _object(name, mine))


def holder(objects: Objects, name: str) -> str | None:
    """Who has the lease called ``name``, for a person to read; None if nobody has."""
    last = max(_numbers(objects, name), default=0)
    if not last or _is_free(objects, _object(name, last)):
        return None
    with contextlib.suppress(ValueError, TypeError, KeyError):
        owner = json.loads(objects.read(_object(name, last)) or b"null")
        return f"process {owner['pid']} on {owner['host']}"
    return "somebody"


def _numbers(objects: Objects, name: str) -> Iterator[int]:
    for each in objects.names(name):
        number = each.removesuffix(".lease")
        if number != each and number.isdecimal():
            yield int(number)


def _object(name: str, number: int) -> str:
    return f"{name}/{number:06d}.lease"


def _owner() -> bytes:
    return json.dumps({"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid()}).encode()


def _is_free(objects: Objects, name: str) -> bool:
    """Has the holder released the lease, or died?"""
    age, content = objects.age_seconds(name), objects.read(name)
    if age is None or content is None:
        return False  # taken over this moment
    if age > ABANDONED_AFTER_SECONDS or content == _RELEASED:
        return True
    with contextlib.suppress(ValueError, TypeError, KeyError):  # being written this moment, or not by us
        owner = json.loads(content)
        return bool(owner["boot"] == _boot()) and not _is_alive(int(owner["pid"]))
    return False


@cache
def _boot() -> str:
    """What tells whether a process number is of this machine's, since it was booted; a container counts its own."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
