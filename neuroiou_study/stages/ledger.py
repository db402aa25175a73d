"""The ledger: what each attempt at a stage took, finished or not, kept where no restart loses it.

An attempt is an entry of its own in the study's folder, written again every few seconds while it runs. So what a dead
attempt took is known to within these seconds, and what a study took is the sum of its entries.
"""

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal

from neuroiou_study.spec.base import Spec
from neuroiou_study.stages.backend import Leaving, Pruned, Worker
from neuroiou_study.stages.manifest import Cost
from neuroiou_study.stages.store import Store

WRITE_SECONDS = 10.0
"""How much of a killed attempt may be missing."""
Outcome = Literal["running", "complete", "pruned", "left", "failed"]
_log = logging.getLogger(__name__)


class Entry(Spec):
    """One attempt at the result at ``address``; of a screening, at many results together."""

    attempt: str
    address: str
    process: str
    begun: str
    """UTC, ISO 8601."""
    workers: int
    device: str = ""
    """What the first worker computed on: a GPU's name, or ``cpu``; empty where it was not noted."""
    seconds: float
    cpu_seconds: float
    """Processor cores that the attempt had reserved, times its seconds."""
    gpu_seconds: float
    outcome: Outcome
    """``running`` also of an attempt that died."""

    @property
    def cost(self) -> Cost:
        """What the manifest of its result says."""
        seconds = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "gpu_seconds": self.gpu_seconds}
        return Cost(attempt=self.attempt, **seconds)


class Total(Spec):
    """The sum of entries."""

    attempts: int = 0
    unfinished: int = 0
    """Attempts that left no result: they died, were stopped, or still run."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    lost_seconds: float = 0.0
    """Of the attempts that failed or died."""


class Ledger:
    """The entries of the study ``identity``; what has ended is read once."""

    def __init__(self, identity: str, store: Store) -> None:
        self._folder, self._store = f"studies/{identity}/ledger", store
        self._ended: dict[str, Entry] = {}

    def entries(self) -> list[Entry]:
        """Every attempt there has been, in the order of their names."""
        names = self._store.objects.names(self._folder)
        return [entry for name in names if (entry := self._ended.get(name) or self._read(name)) is not None]

    def total(self) -> Total:
        """What the study took until now."""
        return total(self.entries())

    def _read(self, name: str) -> Entry | None:
        document = self._store.read_json(f"{self._folder}/{name}")
        if document is None:
            return None
        entry = Entry.model_validate(document)
        if entry.outcome != "running":
            self._ended[name] = entry
        return entry


def total(entries: Iterable[Entry]) -> Total:
    """The sum of ``entries``."""
    entries = list(entries)
    return Total(
        attempts=len(entries),
        unfinished=sum(each.outcome != "complete" for each in entries),
        seconds=sum(each.seconds for each in entries),
        cpu_seconds=sum(each.cpu_seconds for each in entries),
        gpu_seconds=sum(each.gpu_seconds for each in entries),
        lost_seconds=sum(each.seconds for each in entries if each.outcome in ("failed", "running")),
    )


class Meter:
    """A running attempt: its entry is written by a thread until it is closed."""

    def __init__(self, address: str, store: Store, worker: Worker) -> None:
        self._begin, self._worker = time.monotonic(), worker
        self._closed = threading.Event()
        self._store = store
        self._name = f"studies/{worker.account}/ledger/{address.replace('/', '-')}-{uuid.uuid4().hex[:12]}"
        self._fixed = {
            "attempt": self._name.rpartition("-")[2],
            "address": address,
            "process": f"{os.getpid()} on {socket.gethostname()}",
            "begun": datetime.now(UTC).isoformat(timespec="seconds"),
            "workers": worker.shard.world_size,
            "device": worker.device_name,
        }
        self._write(self._entry("running"))
        self._thread = threading.Thread(target=self._keep_writing, daemon=True, name="ledger")
        self._thread.start()

    def close(self, outcome: Outcome) -> Cost | None:
        """The attempt has ended; returns what it took, the first time."""
        if self._closed.is_set():
            return None
        self._closed.set()
        self._thread.join()
        entry = self._entry(outcome)
        if outcome == "complete":
            self._store.write_json(f"{self._name}.json", entry.model_dump(mode="json"))
        else:
            self._write(entry)
        return entry.cost

    def _entry(self, outcome: Outcome) -> Entry:
        seconds, resources = time.monotonic() - self._begin, self._worker.resources
        reserved = seconds * self._worker.shard.world_size
        return Entry.model_validate(
            {
                **self._fixed,
                "seconds": seconds,
                "cpu_seconds": reserved * resources.cpus_per_worker,
                "gpu_seconds": reserved * resources.gpus_per_worker,
                "outcome": outcome,
            }
        )

    def _keep_writing(self) -> None:
        while not self._closed.wait(WRITE_SECONDS):
            self._write(self._entry("running"))

    def _write(self, entry: Entry) -> None:
        content = entry.model_dump_json(indent=1).encode()
        try:
            self._store.objects.hurried().write(f"{self._name}.json", content)
        except OSError as error:
            # Whoever needs the store for the work itself says so; the next entry has this one's seconds too.
            _log.debug("%s: %s", self._name, error)


class _Uncharged:
    """The meter of work that no study pays for, or of a worker that does not write."""

    def close(self, outcome: Outcome) -> Cost | None:
        """Nothing was counted."""


@contextlib.contextmanager
def metered(address: str, store: Store, worker: Worker) -> Iterator[Meter | _Uncharged]:
    """Inside the block an attempt at ``address`` is charged to ``worker.account``; close it as complete where it is."""
    is_charged = worker.account is not None and worker.is_first
    meter = Meter(address, store, worker) if is_charged else _Uncharged()
    try:
        yield meter
    except Pruned:
        meter.close("pruned")
        raise
    except Leaving:
        meter.close("left")
        raise
    finally:
        meter.close("failed")
