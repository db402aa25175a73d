"""Watching a study: at a terminal, in a log, as a program, from another machine."""

import json
import os
import pty
import re
import subprocess
from datetime import datetime
from pathlib import Path

from tests.studies import call, command, stray, write_study


def test_without_a_terminal_there_is_a_line_for_each_event_and_nothing_else(tmp_path: Path) -> None:
    done = call("run", write_study(tmp_path), "--store", tmp_path / "runs", "--backend", "local")
    assert done.returncode == 0 and stray(done.stderr) == []
    lines = [line.partition(" ")[2] for line in done.stderr.splitlines()]
    assert sum(" begun" in line for line in lines) == 9 == sum(" complete: select mIoU" in line for line in lines)
    assert lines[0].startswith("shared pretrain ") and "(9/9 trials, 0 running · best " in lines[-1]


def test_a_program_gets_json_lines(tmp_path: Path) -> None:
    study = write_study(tmp_path, budget={"max_trials": 1})
    done = call("run", study, "--store", tmp_path / "runs", "--backend", "local", "--log-format", "json")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {event["event"] for event in events} == {"begun", "epoch", "ended"}
    assert sum(event["event"] == "epoch" and event["trial"] == "ce-000" for event in events) == 3
    times = [datetime.fromisoformat(event["time"]) for event in events]
    assert times == sorted(times)


def test_at_a_terminal_there_is_a_live_view_and_then_the_report(tmp_path: Path) -> None:
    shown = at_a_terminal(*command("run", write_study(tmp_path), "--store", tmp_path / "runs", "--backend", "local"))
    for part in ("Study tiny-", "MLflow sqlite://", "pretrain", "Best of ", "trials, ", "Took ", "min left|s left"):
        assert re.search(part, shown), part
    assert shown.rindex("Best trial of each arm") > shown.rindex("Took "), "the view goes away, the report stays"
    assert " begun" not in shown


def test_a_study_is_watched_from_elsewhere_until_it_is_over(tmp_path: Path) -> None:
    study, store = write_study(tmp_path), tmp_path / "runs"
    watching = command("status", study, "--store", store, "--watch", "--every", "0.1", "--json")
    with subprocess.Popen(watching, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watcher:
        try:
            assert call("run", study, "--store", store, "--backend", "local").returncode == 0
            output, errors = watcher.communicate(timeout=60)
        finally:
            watcher.kill()
    seen = [json.loads(line) for line in output.splitlines()]
    assert (watcher.returncode, errors) == (0, "")
    assert seen[0]["arms"][0]["complete"] == 0 and not seen[0]["is_over"]
    assert any(each["driver"] and each["running"] for each in seen), "it was seen while it ran"
    assert seen[-1]["is_over"] and [arm["complete"] for arm in seen[-1]["arms"]] == [3, 3, 3]


def test_the_watched_table_stays_on_the_terminal(tmp_path: Path) -> None:
    study, store = write_study(tmp_path, budget={"max_trials": 1}), tmp_path / "runs"
    assert call("run", study, "--store", store, "--backend", "local").returncode == 0
    assert "not running" in at_a_terminal(*command("status", study, "--store", store, "--watch"))


def at_a_terminal(*arguments: str) -> str:
    """What a program writes to a terminal, to its end; it must succeed."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "150", "LINES": "50"}
    with subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux's way to say that nobody holds the other end any more
        return b""
