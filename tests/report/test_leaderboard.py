"""The leaderboard from records alone: order, differences, caveats."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from neuroiou_study.report.leaderboard import Leaderboard, make_leaderboard
from neuroiou_study.report.tables import as_tables, caveats
from neuroiou_study.spec import Scalar, StudySpec
from neuroiou_study.stages.files import write_json
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pipeline import plan
from neuroiou_study.stages.records import Assignment, SeedRun, State, TrialRecord
from neuroiou_study.stages.val import finals
from tests.studies import TINY


def make_study(**changes: Any) -> StudySpec:
    return StudySpec.model_validate({**TINY, **changes})


def record(arm: str, number: int, score: float | None, state: State = "complete") -> TrialRecord:
    values: dict[str, Scalar] = {"finetune.lr": 1e-3 * (number + 1)}
    run = SeedRun(seed=0, stages={}, history=[])
    return TrialRecord(
        assignment=Assignment(arm=arm, number=number, values=values),
        state=state,
        score=score,
        error="it broke" if state == "failed" else None,
        seconds=2.0,
        runs=[run],
    )


RECORDS = [
    record("neuroiou", 0, 0.50),
    record("neuroiou", 1, 0.60),
    record("neuroiou", 2, 0.99, "pruned"),
    record("ce", 0, 0.55),
    record("soft_iou", 0, None, "failed"),
]


def evaluate_on_val(study: StudySpec, store: FolderStore, mious: dict[str, list[float]]) -> None:
    """Put the finals' results into the store, as the evaluate stage leaves them."""
    for arm, specs in finals(study, RECORDS).items():
        for spec, miou in zip(specs, mious[arm], strict=True):
            address = plan(spec)["evaluate"].address
            write_json(store.workspace(address) / "metrics.json", {"miou": miou, "miou_without_background": miou - 0.1})
            store.commit(address, {})


@pytest.fixture
def board(tmp_path: Path) -> Leaderboard:
    study, store = make_study(), FolderStore(tmp_path)
    evaluate_on_val(study, store, {"neuroiou": [0.52], "ce": [0.54]})
    return make_leaderboard(study, store, RECORDS)


def test_best_complete_trial_stands_for_its_arm(board: Leaderboard) -> None:
    arms = {row.arm: row for row in board.arms}
    assert (arms["neuroiou"].trial, arms["neuroiou"].select_miou) == ("neuroiou-001", 0.60)
    assert (arms["neuroiou"].complete, arms["neuroiou"].pruned) == (2, 1)
    assert (arms["soft_iou"].trial, arms["soft_iou"].failed) == (None, 1)


def test_order_and_difference_are_those_of_the_deciding_split(board: Leaderboard) -> None:
    assert [row.arm for row in board.arms] == ["ce", "neuroiou", "soft_iou"]
    assert board.arms[1].difference_to_ce == pytest.approx(-0.02)
    assert board.arms[2].difference_to_ce is None


def test_finals_that_are_not_complete_do_not_count(tmp_path: Path) -> None:
    study, store = make_study(seeds=[0, 1]), FolderStore(tmp_path)
    evaluate_on_val(study, store, {"neuroiou": [0.5, 0.7], "ce": [0.5, 0.5]})
    specs = finals(study, RECORDS)["ce"]
    folder = store.find(plan(specs[0])["evaluate"].address)
    assert folder is not None
    (folder / "manifest.json").unlink()
    arms = {row.arm: row for row in make_leaderboard(study, store, RECORDS).arms}
    assert arms["neuroiou"].val_miou == pytest.approx(0.6)
    assert arms["ce"].val_miou is None
    assert arms["neuroiou"].difference_to_ce is None


def test_without_a_ce_control_nothing_is_compared(tmp_path: Path) -> None:
    study = make_study(controls={"weighted": {"name": "weighted_cross_entropy"}})
    board = make_leaderboard(study, FolderStore(tmp_path), [])
    assert board.ce_control is None
    assert any("no cross-entropy control" in note for note in caveats(board))


def test_one_seed_is_a_caveat(board: Leaderboard) -> None:
    assert any("One seed" in note for note in caveats(board))
    assert not any("seed" in note for note in caveats(replace(board, num_seeds=3)))


def test_tables_fit_a_terminal(board: Leaderboard) -> None:
    console = Console(width=80)
    with console.capture() as capture:
        for table in as_tables(board):
            console.print(table)
    text = capture.get()
    for part in ("neuroiou-001", "0.6000", "-0.0200", "control", "3 (1 pruned)", "it broke"):
        assert part in text
