"""One case: start a study, kill what its points say, run the same command until it is done, check everything."""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil

from tests.faults import checks
from tests.faults.ground import Ground, Killable
from tests.faults.killing import family, own_raylet, survivors, victim
from tests.faults.points import SERVERS, Case, Point
from tests.faults.study_under_test import Outcome, StudyUnderTest
from tests.faults.watch import Watch, watched
from tests.servers.process import kill_all

PATIENCE_SECONDS = 240.0
SHUTDOWN_SECONDS = 20.0
MOST_FAILURES = 3
EYES_SECONDS = 0.05
"""What happens so soon after a kill happened before it."""


@dataclass
class Row:
    """What came of a point; a row of the table."""

    point: Point
    killed_at: float
    during: list[str]
    """What was being made."""
    lost_seconds: float
    progress_after: float
    """When the next command was started, where one was needed; else when it was killed."""
    recovered_seconds: float | None = None


@dataclass
class CaseRun:
    """A case, while it runs and afterwards."""

    case: Case
    study: StudyUnderTest
    ground: Ground
    rows: list[Row] = field(default_factory=list)
    commands: int = 0
    has_synced: bool = False
    problems: list[str] = field(default_factory=list)
    _before: dict[str, str] = field(default_factory=dict)
    _family: set[psutil.Process] = field(default_factory=set)
    _noted: float = 0.0

    def run(self, reference: Outcome) -> None:
        """Run it to its end; what is wrong is in ``problems`` then."""
        with watched(self.study.store.scratch / "stages") as watch:
            driver = self._start()
            try:
                for point in self.case.points:
                    driver = self._kill_at(point, driver, watch)
                self._finish(driver)
            except AssertionError as error:  # something did not come: the other cases go on
                self.problems.append(str(error))
            finally:
                kill_all(self._family)
            for row in self.rows:
                row.recovered_seconds = _recovered(row, watch)
        self.problems += self._check(reference)

    def _start(self) -> "subprocess.Popen[bytes]":
        self.commands += 1
        driver = self.study.start()
        self._family.add(psutil.Process(driver.pid))
        return driver

    def _kill_at(self, point: Point, driver: "subprocess.Popen[bytes]", watch: Watch) -> "subprocess.Popen[bytes]":
        """Kill at ``point``; returns the command that goes on."""
        happened = watch.is_complete if point.after_seconds is None else watch.is_begun
        watch.wait(lambda: happened(point.address), lambda: self._has_ended(driver), PATIENCE_SECONDS)
        assert driver.poll() is None, f"{point.target} {point.moment}: {point.address}: the command had ended before"
        moment = self._kill(point, driver, watch)
        self._before = {**checks.stamps(self.study.store), **self._before}
        row = _row(point, moment, watch)
        self.rows.append(row)
        if point.target not in ("driver", "raylet"):
            return driver
        self._wait_for_end(driver)
        row.progress_after = time.time()
        return self._start()

    def _kill(self, point: Point, driver: "subprocess.Popen[bytes]", watch: Watch) -> float:
        """Kill what ``point`` says, as soon after what it waited for as it says; returns when."""
        if point.target in ("mlflow", "postgres", "s3"):
            server = self.ground.servers[point.target]
            _sleep(point, watch)
            return _interrupt(server, point.down_seconds)
        raylet = self.ground.raylet if self.study.address else own_raylet(driver)
        aimed_at = victim(point.target, point.draw, driver, raylet)
        _sleep(point, watch)
        moment = time.time()
        kill_all([aimed_at])
        return moment

    def _has_ended(self, driver: "subprocess.Popen[bytes]") -> bool:
        """Has the command ended? Until then its relatives are noted, twice a second."""
        if time.monotonic() > self._noted + 0.5:
            self._family |= family(driver)
            self._noted = time.monotonic()
        return driver.poll() is not None

    def _finish(self, driver: "subprocess.Popen[bytes]") -> None:
        """Run the command until it succeeds, and ``sync`` if it then asks for that."""
        failures = 0
        while self._wait_for_end(driver) != 0:
            failures += 1
            if failures == MOST_FAILURES:
                self.problems.append(f"the command failed {failures} times: see {self.study.log}")
                return
            driver = self._start()
        if self.study.is_behind:
            self.has_synced = True
            self.problems += [] if self.study.sync() else [f"sync failed: see {self.study.log}"]

    def _wait_for_end(self, driver: "subprocess.Popen[bytes]") -> int:
        end = time.monotonic() + PATIENCE_SECONDS
        while not self._has_ended(driver) and time.monotonic() < end:
            time.sleep(0.05)
        if driver.poll() is None:
            self.problems.append(f"the command hung: it did not end in {PATIENCE_SECONDS:.0f} s: see {self.study.log}")
            kill_all(family(driver))
        return driver.wait()

    def _check(self, reference: Outcome) -> Iterator[str]:
        num_killed = sum(row.point.target not in SERVERS for row in self.rows)
        yield from checks.same_outcome(reference, self.study.outcome())
        yield from checks.not_written_again(self._before, checks.stamps(self.study.store))
        yield from checks.nothing_held(self.study)
        yield from checks.ledger_is_right(self.study, num_killed)
        yield from self.ground.left_behind(SHUTDOWN_SECONDS)
        for process in survivors(list(self._family), SHUTDOWN_SECONDS):
            yield f"process {process.pid}: still runs"


def _interrupt(server: Killable, down_seconds: float) -> float:
    """Kill ``server`` and start it again after so long; returns when it was killed."""
    server.kill()
    moment = time.time()
    time.sleep(down_seconds)
    server.start()
    return moment


def _sleep(point: Point, watch: Watch) -> None:
    """Return so long after its stage has begun as ``point`` says."""
    if point.after_seconds is not None:
        begun = next(event.time for event in watch.events if event.address == point.address)
        time.sleep(max(0.0, begun + point.after_seconds - time.time()))


def _row(point: Point, moment: float, watch: Watch) -> Row:
    """What a kill at ``moment`` met."""
    before = [event for event in watch.events if event.time <= moment]
    last = {event.address: event for event in before}
    during = {address: event.time for address, event in last.items() if event.what != "complete"}
    # What was written outlives a process; a server's death takes nothing from the stages.
    lost = 0.0 if point.target in SERVERS else sum(moment - written for written in during.values())
    return Row(point, moment, list(during), lost, moment)


def _recovered(row: Row, watch: Watch) -> float | None:
    """From the kill to the next thing that was written."""
    times = [event.time for event in watch.events if event.time > row.progress_after + EYES_SECONDS]
    return min(times) - row.killed_at if times else None
