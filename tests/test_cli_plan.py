"""``neuroiou-study plan`` with prices, as a person meets it: on a study that really runs."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.spec import load_study
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.ledger import Ledger
from tests.conftest import REPOSITORY
from tests.studies import call, write_study

FACTOR = 4.0
"""How far the second half of a study may be from what the first lets one expect; other tests run beside it."""
HALF, WHOLE = ("--set", "budget.max_trials=2"), ("--set", "budget.max_trials=4")
PRICES = """
date: 2026-01-31
currency: EUR
machines:
  - {name: here, provider: own, cpus: 1, gpus: 0, on_demand: 3600}
  - {name: two, provider: own, cpus: 2, gpus: 0, spot: 900, on_demand: 3600}
"""
"""A second of a machine is a euro."""
WHAT: dict[str, Any] = {
    "data": {"name": "shapes", "num_train": 32, "num_select": 8, "num_val": 8, "size": [32, 48]},
    "model": {"name": "unet", "width": 8, "levels": 2},
    "finetune": {"epochs": 4},
    "controls": {"ce": {"name": "cross_entropy"}},
    "resources": {"trials_at_once": 1},
}


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prices") / "prices.yaml"
    path.write_text(PRICES)
    return path


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study that has run to the half of its trials: its file and its store."""
    folder = tmp_path_factory.mktemp("study")
    study, store = write_study(folder, **WHAT), folder / "runs"
    done = program("run", study, "--store", store, "--backend", "local", *HALF)
    assert done.returncode == 0, done.stderr
    return study, store


def program(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run ``neuroiou-study`` on one thread, whose seconds depend least on what else runs here."""
    return call(*arguments, env={**os.environ, "OMP_NUM_THREADS": "1"})


def planned(study: Path, store: Path, *options: object) -> dict[str, Any]:
    done = program("plan", study, "--store", store, "--json", *options)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def spent(study: Path, store: Path) -> dict[str, float]:
    """The seconds of each attempt so far."""
    entries = Ledger(load_study(study).identity, FolderStore(store)).entries()
    return {entry.attempt: entry.seconds for entry in entries}


def test_half_a_study_tells_what_the_other_half_takes(half: tuple[Path, Path], prices: Path) -> None:
    study, store = half
    here = planned(study, store, "--prices", prices, *WHOLE)["offers"][0]
    expected = here["hours"]["likely"] * 3600
    before = spent(study, store)
    assert program("run", study, "--store", store, "--backend", "local", *WHOLE).returncode == 0
    taken = sum(seconds for attempt, seconds in spent(study, store).items() if attempt not in before)
    assert expected / FACTOR < taken < expected * FACTOR
    assert (here["machines"], here["trials_at_once"], "spot" in here) == (1, 1, False)
    assert here["on_demand"]["likely"] == pytest.approx(expected)
    after = planned(study, store, "--prices", prices, *WHOLE)
    assert [offer["on_demand"] for offer in after["offers"]] == [{"likely": 0.0, "most": 0.0}] * 2
    done = program("plan", study, "--store", store, "--prices", prices, *WHOLE)
    assert "Everything is in the store: nothing is left to pay for." in done.stdout


def test_a_person_sees_what_it_costs_and_why(half: tuple[Path, Path], prices: Path) -> None:
    study, store = half
    done = program("plan", study, "--store", store, "--prices", prices, "--set", "budget.max_trials=9")
    assert done.returncode == 0, done.stderr
    for part in (
        "Still to be run, in seconds of one worker",
        "The rest of the study in EUR, at prices of 2026-01-31",
        "Likely cheapest:",
        "on cpu of",
        "Not counted:",
    ):
        assert part in done.stdout


def test_a_calibration_is_asked_for_and_then_enough(tmp_path: Path, prices: Path) -> None:
    study, store = write_study(tmp_path), tmp_path / "runs"
    refused = program("plan", study, "--store", store, "--prices", prices)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "pretrain, collect_pairs, fit_surrogate, finetune, evaluate: not measured yet" in refused.stderr
    assert "--calibrate" in refused.stderr and not store.exists()
    measured = planned(study, store, "--calibrate")
    assert measured["offers"] == [] and measured["prices"] is None
    assert {row["is_calibration"] for row in measured["measured"]} == {True}
    made = planned(study, store, "--prices", prices)
    assert len(made["offers"]) == 4 and any("in a calibration" in note for note in made["notes"])


def test_our_own_price_list_is_an_example(half: tuple[Path, Path]) -> None:
    study, store = half
    ours = REPOSITORY / "cluster" / "prices.yaml"
    notes = planned(study, store, "--prices", ours, "--set", "budget.max_trials=9")["notes"]
    assert any("is an example" in note for note in notes)


def test_a_factor_is_of_all_machines_or_of_one(half: tuple[Path, Path], prices: Path) -> None:
    study, store = half
    more = ("--prices", prices, "--set", "budget.max_trials=9")
    plain, fast = (
        {offer["machine"]: offer["hours"]["likely"] for offer in planned(study, store, *more, *options)["offers"]}
        for options in ((), ("--speedup", "4", "--speedup", "two=1"))
    )
    assert fast["two"] == plain["two"] and plain["here"] / 4 < fast["here"] < plain["here"]


def test_a_plan_without_prices_is_what_it_was(half: tuple[Path, Path]) -> None:
    study, store = half
    document = planned(study, store)
    assert (document["measured"], document["offers"], document["notes"], document["prices"]) == ([], [], [], None)
    assert {row["stage"]: row["wanted"] for row in document["stages"]}["finetune"] == 6


MISTAKES = {
    "a missing list": (("--prices", "nowhere.yaml"), "nowhere.yaml: No such file or directory: must be a readable"),
    "a factor without prices": (("--speedup", "8"), "--speedup 8: is of a machine in a price list: add --prices"),
    "a factor of nothing": (("--prices", "PRICES", "--speedup", "0"), "--speedup 0: must be a number above 0"),
    "no number": (("--prices", "PRICES", "--speedup", "two=fast"), "--speedup two=fast: must be a number above 0"),
    "nan": (("--prices", "PRICES", "--speedup", "nan"), "--speedup nan: must be a number above 0"),
    "an unknown machine": (
        ("--prices", "PRICES", "--speedup", "tow=8"),
        "must name a machine of the price list: choose",
    ),
    "no room": (
        ("--prices", "PRICES", "--set", "resources.gpus_per_worker=1"),
        "prices: 1 CPUs and 1 GPUs: no machine of the list has them",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_with_2_and_a_line(half: tuple[Path, Path], prices: Path, mistake: str) -> None:
    study, store = half
    options, message = MISTAKES[mistake]
    given = [str(prices) if option == "PRICES" else option for option in options]
    done = program("plan", study, "--store", store, "--set", "budget.max_trials=9", *given)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_teaches() -> None:
    done = program("plan", "--help")
    for part in ("--prices", "--calibrate", "--speedup", "budget.max_trials=1", "cluster/prices.yaml"):
        assert part in done.stdout
