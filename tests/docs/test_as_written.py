"""The first commands that a reader meets, run as they are written: the demo, and the README's tour of a study."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.studies import stray, write_study

ENVIRONMENT = REPOSITORY / ".venv"


def test_the_demo_ends_with_a_leaderboard_and_what_to_do_next(tmp_path: Path) -> None:
    if "NEUROIOU_DEMO" not in os.environ:
        pytest.skip("three to six minutes: set NEUROIOU_DEMO=1")
    if Path(sys.prefix) != ENVIRONMENT:
        pytest.skip(f"would install for minutes: run the tests with {ENVIRONMENT}: make test")
    done = run(["make", "demo", f"STORE={tmp_path / 'runs'}"], REPOSITORY)
    assert (
        "Best trial of each arm" in done.stdout and "neuroiou-study export search_spaces/quickstart.yaml" in done.stdout
    )
    assert done.stdout.splitlines()[-1] == "open the trials in MLflow: make ui"
    assert stray(done.stderr) == [], "nothing but events"
    assert (tmp_path / "runs" / "mlflow.db").is_file()


def test_the_tour_of_a_study_is_as_the_readme_says(tmp_path: Path) -> None:
    [tour] = [block for block in re.findall(r"```sh\n(.*?)```", readme(), re.DOTALL) if "validate my_study" in block]
    write_study(tmp_path, budget={"max_trials": 1}, controls={"ce": {"name": "cross_entropy"}}).rename(
        tmp_path / "my_study.yaml"
    )
    done = run(["bash", "-ec", tour], tmp_path)
    for said in ("my_study.yaml: right", "Data shapes", "Best trial of each arm", "2 trial runs"):
        assert said in done.stdout
    for file in ("report.html", "my_loss/README.md", "study.schema.json", "runs/mlflow.db"):
        assert (tmp_path / file).stat().st_size > 0


def readme() -> str:
    return (REPOSITORY / "README.md").read_text()


def run(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done
