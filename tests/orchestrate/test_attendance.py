"""Signs of life, attempts, and the end of a process that gives none."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from neuroiou_study.orchestrate.attendance import Attendance, Sign
from neuroiou_study.orchestrate.line import born
from neuroiou_study.orchestrate.watch import end_process

SIGN = Sign("ce-000", 0, "node", 1, "100")


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    running = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield running
    running.kill()
    running.wait()


def test_who_gives_no_sign_is_named_once() -> None:
    attendance, other = Attendance(), replace(SIGN, rank=1)
    attendance.alive(SIGN)
    attendance.alive(other)
    assert attendance.silent(60.0) == []
    assert attendance.silent(0.0) == [SIGN, other]
    assert attendance.silent(0.0) == []


def test_who_has_ended_is_not_silent() -> None:
    attendance = Attendance()
    attendance.alive(SIGN)
    attendance.gone(SIGN)
    attendance.gone(SIGN)
    assert attendance.silent(0.0) == []


def test_crashes_are_counted_but_for_machines_that_were_taken_away() -> None:
    attendance = Attendance()
    assert attendance.begin_attempt("ce-000", "a", set()) == 0
    assert attendance.begin_attempt("ce-000", "b", set()) == 1
    assert attendance.begin_attempt("ce-000", "c", {"b"}) == 1
    assert attendance.begin_attempt("ce-001", "c", set()) == 0
    attendance.forgive("ce-000")
    assert attendance.begin_attempt("ce-000", "d", {"b"}) == 1


def test_a_silent_process_is_killed(process: "subprocess.Popen[bytes]") -> None:
    assert end_process(replace(SIGN, pid=process.pid, born=born(process.pid)))
    assert process.wait(30) == -9


def test_another_process_of_its_number_is_not(process: "subprocess.Popen[bytes]") -> None:
    assert not end_process(replace(SIGN, pid=process.pid, born="1"))
    assert not end_process(replace(SIGN, pid=process.pid, born=""))
    assert process.poll() is None
