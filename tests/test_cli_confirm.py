"""A study with a gate and a confirmation, as a person runs it and reads its result."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.studies import call, write_study

# The study's own surrogate is a bad one and its first trial; monotone ones have signs that are right by construction.
BAD: dict[str, Any] = {
    "fit_surrogate": {"depth": 2, "epochs": 10, "reading": "class"},
    "gate": {"min_sign": 0.95, "min_r2": -1e6},
    "search": {"fit_surrogate.monotone": {"choice": [False, True]}},
    "controls": {"ce": {"name": "cross_entropy"}},
    "confirm": {"seeds": 2, "resamples": 200},
    "budget": {"max_trials": 2},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A study that has run and confirmed its winners: its file, its store, and what it printed."""
    folder = tmp_path_factory.mktemp("study")
    study, store = write_study(folder, **BAD), folder / "runs"
    done = call("run", study, "--store", store, "--backend", "local")
    assert done.returncode == 0, done.stderr
    return study, store, done.stdout


@pytest.fixture(scope="module")
def board(finished: tuple[Path, Path, str]) -> dict[str, Any]:
    """What ``report --json`` prints; a program that takes no NaN can read it."""
    study, store, _ = finished
    done = call("report", study, "--store", store, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout, parse_constant=_refuse)
    return document


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_a_run_ends_with_its_verdicts(finished: tuple[Path, Path, str]) -> None:
    printed = finished[2]
    assert "Confirmed differences in val mIoU" in printed
    assert ", the best learned loss on val, is " in printed
    assert "val is the mean over fresh seeds 1, 2;" in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if line.startswith(("│", "┃")))


def test_a_bad_surrogate_is_gated_and_shown_with_its_reason(
    finished: tuple[Path, Path, str], board: dict[str, Any]
) -> None:
    printed = " ".join(finished[2].replace("│", " ").split())
    assert "neuroiou-000 gated – gate: sign_" in printed and " is below min_sign 0.95" in printed
    trials = {trial["trial"]: trial for trial in board["trials"] if trial["arm"] == "neuroiou"}
    assert trials["neuroiou-000"]["values"] == {"fit_surrogate.monotone": False}
    for trial in trials.values():
        is_bad = not trial["values"]["fit_surrogate.monotone"]
        assert (trial["state"], bool(trial["error"])) == (("gated", True) if is_bad else ("complete", False))
        assert is_bad != any("finetune" in stages for stages in trial["stages"].values())


def test_the_report_has_the_comparisons_for_a_program(board: dict[str, Any]) -> None:
    learned = next(arm for arm in board["arms"] if arm["arm"] == "neuroiou")
    assert learned["trial"] != "neuroiou-000" and len(learned["val_miou_per_seed"]) == 2
    (of_miou,) = (each for each in learned["comparisons"] if each["measure"] == "miou")
    assert of_miou["control"] == "ce" and of_miou["low"] <= of_miou["value"] <= of_miou["high"]
    assert of_miou["value"] == pytest.approx(learned["difference_to_ce"])
    assert 0 < of_miou["p"] <= of_miou["p_holm"] <= 1
    assert (board["confirmation_seeds"], board["confidence"]) == ([1, 2], 0.95)
