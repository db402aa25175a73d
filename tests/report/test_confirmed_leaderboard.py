"""The leaderboard, its sentence and its champion where the study has confirmed its winners."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from neuroiou_study.report.export import champion_of
from neuroiou_study.report.leaderboard import ArmRow, Leaderboard, make_leaderboard
from neuroiou_study.report.status import make_status, num_confirmations, status_table
from neuroiou_study.report.tables import as_tables, caveats, verdict
from neuroiou_study.stages.folder_store import FolderStore
from tests.report.confirmed import CONTROLS, RESAMPLES, MadeUp, make_study, played


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    return played(tmp_path_factory.mktemp("confirmed"))


def board_of(made: MadeUp) -> Leaderboard:
    return make_leaderboard(made.study, made.store, made.records)


@pytest.fixture(scope="module")
def board(made: MadeUp) -> Leaderboard:
    return board_of(made)


def row(board: Leaderboard, trial: str) -> ArmRow:
    return next(row for row in board.arms if row.trial == trial)


def test_every_confirmed_trial_has_a_row_and_val_ranks_them(made: MadeUp, board: Leaderboard) -> None:
    trials = [str(row.trial) for row in board.arms]
    assert set(trials[1:3]) == {"neuroiou-000", "soft_iou-000"} and trials[::4] == ["flip-000", "ce-000"]
    assert trials[3] == "neuroiou-001"  # the best of the search
    first, second = row(board, "neuroiou-000"), row(board, "neuroiou-001")
    assert first.val_miou is not None and second.val_miou is not None
    assert first.val_miou > second.val_miou and (first.select_miou, second.select_miou) == (0.6, 0.7)
    assert first.val_miou == pytest.approx(made.miou("neuroiou-000", 1, 2, 3))
    assert first.complete == second.complete == 2


def test_a_row_has_its_seeds_its_difference_and_its_comparisons(made: MadeUp, board: Leaderboard) -> None:
    ours = row(board, "neuroiou-000")
    assert ours.val_miou_per_seed == pytest.approx([made.miou("neuroiou-000", seed) for seed in (1, 2, 3)])
    assert ours.difference_to_ce == pytest.approx(made.comparison("neuroiou-000", "ce").value)
    assert ours.comparisons == made.verdicts["neuroiou-000"].comparisons
    assert (board.confirmation_seeds, board.confidence) == ([1, 2, 3], 0.95)


def test_the_document_has_the_comparisons_for_a_program(board: Leaderboard) -> None:
    document = json.loads(json.dumps(board.as_document()))
    ours = next(row for row in document["arms"] if row["trial"] == "neuroiou-000")
    found = {(each["control"], each["measure"]): each for each in ours["comparisons"]}
    assert found["ce", "miou"]["verdict"] == "better" and found["ce", "disc"]["p"] < 0.05
    assert set(found["ce", "miou"]) == {"control", "measure", "value", "low", "high", "p", "p_holm", "verdict"}


def test_the_sentence_says_what_is_known_of_the_best_learned_loss(board: Leaderboard) -> None:
    assert verdict(board) == (
        "neuroiou-000, the best learned loss on val, is better than ce; worse than flip; not different from soft_iou."
    )


def test_there_is_no_sentence_before_the_confirmation(tmp_path: Path) -> None:
    made = MadeUp(make_study(), FolderStore(tmp_path))
    made.searched("neuroiou", 0, 0.5)
    made.searched("ce", 0, 0.5)
    assert verdict(board_of(made)) is None
    assert [row.val_miou for row in board_of(made).arms] == [None] * 4
    without = make_leaderboard(make_study(confirm=None), made.store, made.records)
    assert verdict(without) is None and without.confidence is None and without.confirmation_seeds == []


def test_the_sentence_is_silent_about_what_was_not_compared(tmp_path: Path) -> None:
    made = played(tmp_path, controls={name: CONTROLS[name] for name in ("ce", "soft_iou")})
    trials = {record.assignment.name: record.assignment for record in made.records}
    for trial, seeds in (("neuroiou-000", (1,)), ("neuroiou-001", (1,)), ("soft_iou-000", (2, 3))):
        for seed in seeds:
            made.confirmed(trials[trial], seed, None)
    # The learned trials have seeds 2 and 3 left, soft_iou has seed 1.
    said = verdict(board_of(made))
    assert said is not None and said.endswith("is better than ce.")


def test_the_caveats_are_those_of_a_confirmation(board: Leaderboard) -> None:
    (note,) = caveats(board)
    assert "val is the mean over fresh seeds 1, 2, 3" in note and "95%" in note and "Holm" in note


def test_failed_seeds_are_a_caveat(tmp_path: Path) -> None:
    made = played(tmp_path)
    made.confirmed(made.records[0].assignment, 2, None)
    _, *failed = caveats(board_of(made))
    assert failed == ["neuroiou-000: 2 of 3 fresh seeds are there; the others failed."]


def test_the_verdicts_fit_a_terminal(board: Leaderboard) -> None:
    console = Console(width=80)
    with console.capture() as capture:
        for table in as_tables(board):
            console.print(table)
    text = capture.get()
    ours = next(row for row in board.arms if row.trial == "neuroiou-000")
    against_ce = next(each for each in ours.comparisons if each.control == "ce")
    for part in (f"{against_ce.low:+.4f} … {against_ce.high:+.4f}", "no difference", "worse", "box"):
        assert part in text
    lines = [line for line in text.splitlines() if "│   soft_iou " in line]
    assert ["no difference" in line for line in lines] == [True, False]  # of neuroiou-000 and of neuroiou-001
    assert all(len(line) <= 80 and "…│" not in line for line in text.splitlines())


def test_the_champion_is_the_learned_trial_that_val_put_first(made: MadeUp) -> None:
    def champion(made: MadeUp) -> str:
        best = champion_of(made.study, made.records, make_leaderboard(made.study, made.store, made.records))
        assert best is not None and best.assignment.fresh_seed is None
        return best.assignment.name

    assert champion(made) == "neuroiou-000"
    searched = MadeUp(make_study(confirm=None), made.store, made.records)
    assert champion(searched) == "neuroiou-001"
    unconfirmed = MadeUp(made.study, FolderStore(made.store.root / "empty"), made.records)
    assert champion(unconfirmed) == "neuroiou-001"


def test_a_study_without_controls_has_the_champion_of_val_too(tmp_path: Path) -> None:
    made = played(tmp_path, controls={})
    best = champion_of(made.study, made.records, make_leaderboard(made.study, made.store, made.records))
    assert best is not None and best.assignment.name == "neuroiou-000"


def test_a_variant_can_be_the_champion(tmp_path: Path) -> None:
    confirmation = {"seeds": 3, "top": 2, "resamples": 2 * RESAMPLES}  # nine comparisons: 300 draws are too few
    made = played(tmp_path, variants={"no_int": {"finetune.start": "random"}}, confirm=confirmation)
    variant = made.searched("no_int", 0, 0.1)
    for seed in (1, 2, 3):
        made.confirmed(variant, seed, 0.66)
    best = champion_of(made.study, made.records, make_leaderboard(made.study, made.store, made.records))
    assert best is not None and best.assignment.name == "no_int-000"
    said = verdict(board_of(made))
    assert said == "no_int-000, the best learned loss on val, is better than ce; better than soft_iou; worse than flip."


def test_status_counts_the_confirmations(made: MadeUp) -> None:
    status = make_status(made.study, made.store)
    assert (status.confirmations, status.confirmations_wanted) == (15, 15)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(status_table(status))
    assert "15/15" in next(line for line in capture.get().splitlines() if "confirmation" in line)
    assert num_confirmations(make_study(confirm=None)) == 0
    few = make_study(confirm={"seeds": 2, "top": 9, "resamples": RESAMPLES})
    assert num_confirmations(few) == (3 + 3) * 2  # no arm has more than its three trials
