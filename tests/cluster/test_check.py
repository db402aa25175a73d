"""`neuroiou-study cluster check`: what is wrong is named, by its place and with a remedy; what is right is not."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.cluster.check import check
from neuroiou_study.cluster.checks.problem import Problem
from tests.cluster.wrong_file import SHIPPED, WrongFile, put, replace, shipped
from tests.cluster.wrong_launcher import LAUNCHER
from tests.cluster.wrong_machines import AWS, GCP
from tests.cluster.wrong_pods import KUBERAY, RAYJOB
from tests.cluster.wrong_small import ONPREM, PRICE_LIST, SMALL
from tests.studies import call

WRONG_FILES = [*LAUNCHER, *AWS, *GCP, *ONPREM, *KUBERAY, *RAYJOB, *SMALL, *PRICE_LIST]
SECRETS = ("wJalr", "A1B2C3D4E5F6G7H8", "MIIE", "hunter2")
"""Parts of those that wrong files tell: no message repeats them."""
JUNK: list[Any] = [None, [], {}, "x", -1, 0.5, True, [["x"]], {"x": {}}]
RIGHT = [
    "aws-gpu.yaml",
    "gcp-gpu.yaml",
    "onprem.yaml",
    "kuberay-rayjob.yaml",
    "kuberay-cluster.yaml",
    "cluster.yaml",
    "prices.yaml",
]


@pytest.mark.parametrize("file", RIGHT)
def test_a_shipped_file_is_right(file: str) -> None:
    assert check(SHIPPED / file) == []


@pytest.mark.parametrize("wrong", WRONG_FILES, ids=[each.name for each in WRONG_FILES])
def test_a_mistake_is_named(wrong: WrongFile, tmp_path: Path) -> None:
    path = wrong.write(tmp_path)
    found = [each for each in check(path) if not each.is_note]
    assert any(each.text.startswith(f"{path}: {wrong.where}: ") and wrong.says in each.text for each in found), found
    assert all("\n" not in each.text for each in found)
    assert not any(secret in each.text for secret in SECRETS for each in found)
    # One mistake is not many: what is near it may follow from it, the rest of the file is right.
    assert len(found) <= 6, found


def test_the_command_ends_with_2_and_names_the_file(tmp_path: Path) -> None:
    wrong = AWS[0].write(tmp_path)
    done = call("cluster", "check", SHIPPED / "aws-gpu.yaml", wrong)
    assert done.returncode == 2
    assert f"{wrong}: available_node_types.l4-spot.node_config.InstanceTyp: unknown key" in done.stderr
    assert done.stdout == f"{SHIPPED / 'aws-gpu.yaml'}: right\n"


def test_notes_are_no_mistakes(tmp_path: Path) -> None:
    path = _changed(tmp_path, "available_node_types.l4-spot.min_workers", 2)
    done = call("cluster", "check", path)
    assert done.returncode == 0
    assert "note: " in done.stderr and "min_workers: 2: so many are paid for" in done.stderr


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("available_node_types.l4-spot.node_config.InstanceType", "g99.xlarge", "g99.xlarge: not in our table"),
        ("available_node_types.l4-spot.node_config.TagSpecifications", [], "a bill cannot be divided"),
        ("available_node_types.l4-spot.idle_timeout_s", 7200, "7200: every such worker is paid for so long"),
        ("idle_timeout_minutes", 600, "600: every worker is paid for so long"),
    ],
)
def test_what_is_only_worth_a_look(tmp_path: Path, place: str, value: object, says: str) -> None:
    (note,) = check(_changed(tmp_path, place, value))
    assert note.is_note and says in note.text


def test_spot_machines_without_a_watcher_are_worth_a_look(tmp_path: Path) -> None:
    unwatched = replace("worker_start_ray_commands[1]", "neuroiou_study.cluster.spot_notice", "time")
    (note,) = check(WrongFile("", "aws-gpu.yaml", unwatched, "", "").write(tmp_path))
    assert note.is_note and "a machine that is taken loses what it does" in note.text


@pytest.mark.parametrize("text", ["", "- a", "a: [", "a: &x [*x]", "provider: local", "provider: {type: [aws]}", "1"])
def test_what_is_no_file_of_ours(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    (problem,) = check(path)
    assert problem.text.startswith(f"{path}: ") and not problem.is_note


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = call("cluster", "check", tmp_path / "absent.yaml")
    assert done.returncode == 2 and "must be a readable file" in done.stderr and "Traceback" not in done.stderr


def test_without_googles_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> dict[str, Any]:
        raise ModuleNotFoundError("googleapiclient")

    monkeypatch.setattr("neuroiou_study.cluster.checks.gce.instance_schema", absent)
    assert [
        each.text for each in check(SHIPPED / "gcp-gpu.yaml") if "pip install 'neuroiou-study[cluster]'" in each.text
    ]


@pytest.mark.parametrize("file", RIGHT[:5])
def test_junk_anywhere_is_named_and_never_raises(file: str, tmp_path: Path) -> None:
    """Whatever a value is replaced by, the check ends, with lines."""
    chance = random.Random(0)
    places = list(_places(shipped(file)))
    for _ in range(40):
        place, junk = chance.choice(places), chance.choice(JUNK)
        path = _changed(tmp_path, place, junk, file)
        assert all(isinstance(each, Problem) for each in check(path)), (place, junk)


def _changed(folder: Path, place: str, value: object, file: str = "aws-gpu.yaml") -> Path:
    return WrongFile("", file, put(place, value), "", "").write(folder)


def _places(document: object, place: str = "") -> Iterator[str]:
    children = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in children:
        inner = f"{place}.{key}" if place else str(key)
        if "." not in str(key) and "~" not in str(key):
            yield inner
            yield from _places(value, inner)
