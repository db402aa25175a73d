"""Real processes for tests of what happens between them, and when one of them is killed."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

SPAWN = multiprocessing.get_context("spawn")
DEADLINE_SECONDS = 60.0


@contextmanager
def started(target: Callable[..., None], *args: Any) -> Iterator[tuple[SpawnProcess, Connection]]:
    """A process that runs ``target(connection, *args)``, and our end of the connection; killed if still there."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(theirs, *args))
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()


def received(connection: Connection) -> Any:
    """What the process sends next."""
    assert connection.poll(DEADLINE_SECONDS), "the process says nothing"
    return connection.recv()


def kill(process: SpawnProcess) -> None:
    """End ``process`` as a machine would: at once, without a last word."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def run_together(target: Callable[..., None], num_processes: int, *args: Any) -> None:
    """Run ``target(index, barrier, *args)`` in so many processes, to their ends, which must be good."""
    barrier = SPAWN.Barrier(num_processes, timeout=DEADLINE_SECONDS)
    processes = [SPAWN.Process(target=target, args=(index, barrier, *args)) for index in range(num_processes)]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(DEADLINE_SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert [process.exitcode for process in processes] == [0] * num_processes


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as ``condition()`` is true; fail if it takes unreasonably long."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.01)
