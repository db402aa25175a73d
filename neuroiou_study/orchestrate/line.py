"""A worker's line to its study: epochs and signs of life go up, verdicts and notices come down."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from neuroiou_study.orchestrate.attendance import SHARED, Sign
from neuroiou_study.stages.backend import Progress, Worker
from neuroiou_study.stages.records import Assignment

SIGN_SECONDS = 10.0
"""How often a worker gives a sign of life at most; a tenth of ``retry.hung_seconds`` where that is less."""
NOTICE_SECONDS = 1.0
"""How often a worker asks whether its machine was told to go; asking takes 0.4 ms (measured)."""
PREEMPTED = 3
"""Ray's reason of a node's death: it was drained because a spot market took it."""


class Line:
    """The line of the workers of ``assignment`` (None: of what all trials share) to ``agenda``, an actor."""

    def __init__(self, agenda: Any, assignment: Assignment | None, hung_seconds: float | None) -> None:
        self._agenda, self._assignment = agenda, assignment
        self._sign_seconds = min(SIGN_SECONDS, (hung_seconds or SIGN_SECONDS * 10) / 10)

    def __call__(self, progress: Progress) -> bool:
        """Report an epoch; returns whether the trial should stop."""
        verdict: bool = ray.get(self._agenda.report.remote(self._assignment, progress))
        return verdict

    @contextlib.contextmanager
    def attended(self, worker: Worker) -> Iterator[Worker]:
        """``worker``, which in the block reports, gives signs of life, and hears that its machine has to go."""
        name = SHARED if self._assignment is None else self._assignment.name
        sign = Sign(name, worker.shard.rank, here(), os.getpid(), born(os.getpid()))
        alive = _at_most_every(self._sign_seconds, lambda: self._agenda.alive.remote(sign))
        alive()
        try:
            yield replace(worker, listener=self, alive=alive, is_leaving=_Notice())
        finally:
            self._agenda.gone.remote(sign)


class _Notice:
    """Has the machine of this process been told to go?"""

    def __init__(self) -> None:
        self._asked, self._is_leaving = 0.0, False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._is_leaving and now - self._asked > NOTICE_SECONDS:
            self._asked, self._is_leaving = now, here() in draining()
        return self._is_leaving


def here() -> str:
    """The number of the node that this process runs on."""
    node: str = ray.get_runtime_context().get_node_id()
    return node


def draining() -> set[str]:
    """The nodes that have been told to go and are still there."""
    from ray._private.state import state  # Ray Train's own watcher asks the same; there is no public function

    return set(state.get_draining_nodes())


def taken_away() -> set[str]:
    """The nodes that a spot market took, or is about to take."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return draining() | {node["NodeID"] for node in nodes if node.get("DeathReason") == PREEMPTED}


def born(pid: int) -> str:
    """When a process began, in its machine's ticks; empty where the machine does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _at_most_every(seconds: float, act: Callable[[], object]) -> Callable[[], None]:
    last = -seconds

    def acting() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= seconds:
            last = now
            act()

    return acting
