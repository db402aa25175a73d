"""What a report says about a screening: counts, the rank correlation, and whether to trust it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from neuroiou_study.report.leaderboard import Leaderboard, make_leaderboard
from neuroiou_study.report.tables import as_tables, caveats
from neuroiou_study.spec import Scalar, StudySpec
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.records import Assignment, State, TrialRecord
from tests.studies import TINY

WIDTHS = tuple(range(8, 18))


def make_study(**changes: Any) -> StudySpec:
    search = {"fit_surrogate.width": {"int": [4, 32]}, "finetune.lr": TINY["search"]["finetune.lr"]}
    screen = {"surrogates": 12, "top": 10}
    return StudySpec.model_validate({**TINY, "search": search, "screen": screen, **changes})


def record_screening(study: StudySpec, store: FolderStore, passed: int = 10) -> None:
    """Ten fitted surrogates, the wider the worse, and one that could not be fitted."""
    fitted = [
        {
            "values": {"fit_surrogate.width": width},
            "passed": place < passed,
            "missed": [] if place < passed else ["sign_tp 0.100 is below min_sign 0.95"],
            "measure": 1 - width / 100,
            "fidelity": [{"gradient_cosine": 1 - width / 100}],
        }
        for place, width in enumerate(WIDTHS)
    ]
    failed = {"values": {"fit_surrogate.width": 32}, "passed": False, "missed": ["it broke"], "measure": float("nan")}
    surrogates = [*fitted, {**failed, "fidelity": []}]
    document = {"arm": "neuroiou", "measure": "gradient_cosine", "seeds": [0], "surrogates": surrogates}
    store.write_json(f"studies/{study.identity}/screening/neuroiou.json", document)


def record(
    number: int, width: int, score: float | None, state: State = "complete", arm: str = "neuroiou"
) -> TrialRecord:
    values: dict[str, Scalar] = {"fit_surrogate.width": width, "finetune.lr": 1e-3 * (number + 1)}
    assignment = Assignment(arm=arm, number=number, values=values)
    return TrialRecord(assignment=assignment, state=state, score=score, error=None, seconds=1.0, runs=[])


def board(tmp_path: Path, records: Sequence[TrialRecord], passed: int = 10) -> Leaderboard:
    study, store = make_study(), FolderStore(tmp_path)
    record_screening(study, store, passed)
    return make_leaderboard(study, store, records)


def shown(made: Leaderboard) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        for table in as_tables(made):
            console.print(table)
    return capture.get()


def test_a_ranking_that_came_true_can_be_trusted(tmp_path: Path) -> None:
    made = board(tmp_path, [record(n, width, 0.9 - width / 50) for n, width in enumerate(WIDTHS)])
    (row,) = made.screening
    assert (row.arm, row.measure, row.fitted, row.passed, row.sent, row.failed) == (
        ("neuroiou", "gradient_cosine", 10, 10, 10, 1)
    )
    assert row.num_points == 10 and row.spearman == pytest.approx(1) and row.p is not None and row.p < 0.001
    assert any("better ranked ones were better; the ranking can be trusted" in note for note in caveats(made))
    assert any("1 surrogates could not be fitted" in note for note in caveats(made))
    assert "Screening of surrogates" in shown(made) and "+1.00" in shown(made)
    assert made.as_document()["screening"][0]["num_points"] == 10


def test_a_ranking_that_was_wrong_is_called_so(tmp_path: Path) -> None:
    made = board(tmp_path, [record(n, width, width / 50) for n, width in enumerate(WIDTHS)])
    assert made.screening[0].spearman == pytest.approx(-1)
    assert any("better ranked ones were worse; do not trust it" in note for note in caveats(made))


def test_a_ranking_without_a_pattern_may_be_chance(tmp_path: Path) -> None:
    scores = (0.5, 0.1, 0.6, 0.2, 0.9, 0.3, 0.8, 0.4, 0.7, 0.15)
    made = board(tmp_path, [record(n, width, scores[n]) for n, width in enumerate(WIDTHS)])
    assert made.screening[0].p is not None and made.screening[0].p > 0.05
    assert any("it may be chance; do not take the ranking for a prediction" in note for note in caveats(made))


def test_four_surrogates_say_nothing_and_five_something(tmp_path: Path) -> None:
    records = [record(n, width, 0.9 - width / 50) for n, width in enumerate(WIDTHS[:5])]
    four, five = board(tmp_path / "4", records[:4]), board(tmp_path / "5", records)
    assert (four.screening[0].num_points, four.screening[0].spearman, four.screening[0].p) == (4, None, None)
    assert any("4 surrogates are fine-tuned, too few" in note for note in caveats(four))
    assert five.screening[0].p == pytest.approx(2 / 120)


def test_a_surrogate_counts_once_by_its_best_complete_trial(tmp_path: Path) -> None:
    records = [record(n, width, 0.9 - width / 50) for n, width in enumerate(WIDTHS[:6])]
    worse = [record(10 + n, width, 0.01 * n) for n, width in enumerate(WIDTHS[:6])]
    other = [record(20, 8, None, "failed"), record(21, 16, 0.99, "pruned"), record(0, 17, 0.99, arm="ce")]
    (row,) = board(tmp_path, [*worse, *records, *other]).screening
    assert row.num_points == 6 and row.spearman == pytest.approx(1)


def test_where_none_passed_it_is_said(tmp_path: Path) -> None:
    made = board(tmp_path, [record(n, width, None, "gated") for n, width in enumerate(WIDTHS)], passed=0)
    assert (made.screening[0].passed, made.screening[0].sent) == (0, 10)
    assert any("no surrogate passed the gate; the best were sent" in note for note in caveats(made))


def test_a_study_without_screening_says_nothing_of_it(tmp_path: Path) -> None:
    made = make_leaderboard(make_study(screen=None), FolderStore(tmp_path), [record(0, 8, 0.5)])
    assert made.screening == [] and "Screening" not in shown(made) + " ".join(caveats(made))
    assert make_leaderboard(make_study(), FolderStore(tmp_path), []).screening == []
