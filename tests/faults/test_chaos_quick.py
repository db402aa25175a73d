"""A few kills of the chaos run, each of a real process; ``make chaos`` has all of them."""

from collections.abc import Iterator

import pytest

from tests.faults.chaos import Reference, run_case, run_reference
from tests.faults.ground import Ground, ground
from tests.faults.points import quick_cases
from tests.servers.fixtures import need
from tests.servers.postgres import missing_for_postgres
from tests.servers.swift import missing_for_swift

SEED = 1


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    need(missing_for_postgres())
    need(missing_for_swift())
    with ground(tmp_path_factory.mktemp("ground")) as made:
        yield made


@pytest.fixture(scope="module")
def reference(where: Ground) -> Reference:
    return run_reference(where, 1)


@pytest.mark.parametrize("number", [0, 1, 2], ids=["driver", "trial", "servers"])
def test_a_study_that_is_killed_ends_as_if_it_had_not_been(where: Ground, reference: Reference, number: int) -> None:
    case = quick_cases(SEED, reference.spans)[number]
    run = run_case(where, case, f"quick{number}", reference)
    assert run.problems == []
    assert [row.point for row in run.rows] == list(case.points)
