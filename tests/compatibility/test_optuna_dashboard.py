"""optuna-dashboard opens the search of a study: each arm with all its trials, states and values."""

import json
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.servers.fixtures import need
from tests.servers.process import LOOPBACK, Program, accepts, free_ports
from tests.studies import call, report, write_study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    need(None if find_spec("optuna_dashboard") else "needs optuna-dashboard: pip install -e '.[dev]'")
    path = write_study(tmp_path)
    done = call("run", path, "--store", tmp_path / "runs", "--backend", "local")
    assert done.returncode == 0, done.stderr
    return path


def test_it_shows_every_arm_with_its_trials(study: Path, tmp_path: Path) -> None:
    [journal] = (tmp_path / "runs" / "studies").glob("*/optuna.log")
    (port,) = free_ports(1)
    dashboard = str(Path(sys.executable).with_name("optuna-dashboard"))
    program = Program([dashboard, "--host", LOOPBACK, "--port", str(port), str(journal)], tmp_path / "log")
    program.start()
    try:
        program.wait_until(lambda: accepts(port))
        found = asked(port, "studies")["study_summaries"]
        shown = {each["study_name"]: asked(port, f"studies/{each['study_id']}")["trials"] for each in found}
    finally:
        program.kill()
    document = report(study, tmp_path / "runs")
    for arm in ("neuroiou", "ce", "soft_iou"):
        [trials] = [each for name, each in shown.items() if f"/{arm}/" in name]
        wanted = [row for row in document["trials"] if row["arm"] == arm]
        assert [each["state"] for each in trials] == ["Complete"] * len(wanted)
        scores = sorted(float(each["values"][0]) for each in trials)
        assert scores == pytest.approx(sorted(row["select_miou"] for row in wanted))
        assert {part["name"] for each in trials for part in each["params"]} == {
            name for row in wanted for name in row["values"]
        }


def asked(port: int, what: str) -> dict[str, Any]:
    """What the dashboard's own pages ask it."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/api/{what}", timeout=30) as answer:
        document: dict[str, Any] = json.load(answer)
    return document
