"""The driver's watch over a study on a cluster: it passes news on and ends workers that hang."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from neuroiou_study.orchestrate.attendance import Sign
from neuroiou_study.orchestrate.line import born
from neuroiou_study.stages.news import Observer

NEWS_SECONDS = 0.25
PATIENCE_SECONDS = 30.0
"""An agenda may wait for its database; at the end it is waited for so long."""
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def watched(agenda: Any, observer: Observer, hung_seconds: float | None) -> Iterator[None]:
    """Inside the block, a thread passes the agenda's news to ``observer``; all of it before the block is left.

    Workers that give no sign of life for ``hung_seconds`` are killed; their trials are then begun again as after any
    crash.
    """
    done = threading.Event()

    def watch() -> None:
        looked = time.monotonic()
        while not done.wait(NEWS_SECONDS):
            _require_cluster()
            _pass_on(agenda, observer)
            if hung_seconds is not None and time.monotonic() - looked > hung_seconds / 10:
                looked = time.monotonic()
                _end_silent(agenda, hung_seconds)

    thread = threading.Thread(target=watch, name="news", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(PATIENCE_SECONDS)
        _pass_on(agenda, observer)


def _require_cluster() -> None:
    """End the program if a process of the cluster that it started has died: Ray may wait for it for ever.

    What is half done is what any death leaves, so nothing is lost by ending at once.
    """
    from ray._private import worker  # there is no public way to ask

    node = worker._global_node
    dead: list[str] = [str(kind) for kind, _ in node.dead_processes()] if node is not None else []
    if dead:
        _log.error("Ray's %s died: the study cannot go on: run the same command again", ", ".join(sorted(dead)))
        os._exit(1)


def _pass_on(agenda: Any, observer: Observer) -> None:
    try:
        news = ray.get(agenda.news.remote(), timeout=PATIENCE_SECONDS)
    except ray.exceptions.RayError as error:
        _log.debug("the agenda cannot be reached: %s", error)
        return
    for item in news:
        observer(item)


def _end_silent(agenda: Any, seconds: float) -> None:
    try:
        silent = ray.get(agenda.silent.remote(seconds), timeout=PATIENCE_SECONDS)
        for sign in silent:
            _log.warning("%s: no sign of life for %g s: its process is ended and it is begun again", sign.name, seconds)
            on_its_node = NodeAffinitySchedulingStrategy(sign.node, soft=False)
            ray.remote(end_process).options(num_cpus=0, scheduling_strategy=on_its_node).remote(sign)
    except ray.exceptions.RayError as error:
        _log.debug("the agenda cannot be reached: %s", error)


def end_process(sign: Sign) -> bool:
    """Kill the process that gave ``sign``, on its node; did we? Not one that has its number by now."""
    if not sign.born or born(sign.pid) != sign.born:
        return False
    os.kill(sign.pid, signal.SIGKILL)
    return True
