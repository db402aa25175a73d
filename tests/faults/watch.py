"""What a study writes, seen from outside while it runs: each stage as it begins, is written to, and is complete."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LOOK_SECONDS = 0.003
PARTIAL = ".partial"

What = Literal["begun", "written", "complete"]


@dataclass(frozen=True)
class Event:
    """Something happened to the result at ``address`` (``finetune/3672eceac984fa2d``)."""

    what: What
    address: str
    time: float


@dataclass(frozen=True)
class Span:
    """When a stage was made."""

    address: str
    begin: float
    end: float

    @property
    def stage(self) -> str:
        return self.address.partition("/")[0]

    @property
    def seconds(self) -> float:
        return self.end - self.begin


class Watch:
    """Sees what happens in ``folder``, which has a folder for each stage; :func:`watched` makes one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._events: list[Event] = []
        self._known: dict[str, float | None] = {}  # when it was last written; None when complete
        self._changed, self._is_done = threading.Condition(), threading.Event()

    @property
    def events(self) -> list[Event]:
        """All so far."""
        with self._changed:
            return list(self._events)

    def is_begun(self, address: str) -> bool:
        return address in self._known

    def is_complete(self, address: str) -> bool:
        return address in self._known and self._known[address] is None

    def in_progress(self) -> list[str]:
        """The addresses that are being made, or were when their maker died."""
        return [address for address, written in dict(self._known).items() if written is not None]

    def wait(self, happened: Callable[[], bool], is_over: Callable[[], bool], patience_seconds: float) -> bool:
        """Return as soon as ``happened()``, True, or when ``is_over()``, whether it did. AssertionError after that."""
        end = time.monotonic() + patience_seconds
        while not happened():
            if is_over():
                return happened()
            assert time.monotonic() < end, f"nothing happened in {patience_seconds} s: {self.events[-5:]}"
            with self._changed:
                self._changed.wait(0.05)
        return True

    def spans(self) -> list[Span]:
        """Every stage that was made from begin to end before these eyes, in order."""
        begun = {event.address: event.time for event in self.events if event.what == "begun"}
        complete = [event for event in self.events if event.what == "complete"]
        return [Span(event.address, begun[event.address], event.time) for event in complete if event.address in begun]

    def run(self) -> None:
        """Look until told to stop."""
        while not self._is_done.wait(LOOK_SECONDS):
            new = list(self._look())
            if new:
                with self._changed:
                    self._events += new
                    self._changed.notify_all()

    def stop(self) -> None:
        self._is_done.set()

    def _look(self) -> Iterator[Event]:
        for address, written in _found(self._folder).items():
            now = time.time()
            if address not in self._known:
                yield Event("begun", address, now)
            elif self._known[address] is None or self._known[address] == written:
                continue
            else:
                yield Event("complete" if written is None else "written", address, now)
            self._known[address] = written


@contextmanager
def watched(folder: Path) -> Iterator[Watch]:
    """A watch on ``folder``, which need not be there yet, while the block runs."""
    watch = Watch(folder)
    thread = threading.Thread(target=watch.run, daemon=True, name="watch")
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()


def _found(folder: Path) -> Mapping[str, float | None]:
    """Address → when its unfinished folder was last written to, None if it is complete."""
    found: dict[str, float | None] = {}
    for stage in _entries(folder):
        for entry in _entries(stage):
            if entry.name.endswith(PARTIAL):
                found.setdefault(f"{stage.name}/{entry.name.removesuffix(PARTIAL)}", _last_written(entry))
            elif entry.suffix == "" and not entry.name.startswith("."):
                found[f"{stage.name}/{entry.name}"] = None
    return found


def _last_written(folder: Path) -> float:
    times = [0.0]
    for path in (folder, *_entries(folder)):
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]  # noqa: PTH208  faster by half, and it is asked for often
    except (FileNotFoundError, NotADirectoryError):
        return []
