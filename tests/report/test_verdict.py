"""Verdicts from made-up evaluations, whose differences are known."""

import math
from pathlib import Path

import pytest
import torch

from neuroiou_study.core.significance import differences, draw, holm
from neuroiou_study.report.verdict import MEANS, confirm
from neuroiou_study.stages.folder_store import FolderStore
from tests.report.confirmed import CLASSES, CONTROLS, IMAGES, RESAMPLES, MadeUp, make_study, played

LEAST = 2 / (RESAMPLES + 1)
"""The p-value of a difference that no draw was against."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    return played(tmp_path_factory.mktemp("confirmed"))


def test_a_trial_is_better_worse_or_no_different(made: MadeUp) -> None:
    better, worse, same = (made.comparison("neuroiou-000", control) for control in ("ce", "flip", "soft_iou"))
    assert (better.verdict, worse.verdict, same.verdict) == ("better", "worse", "no difference")
    assert 0 < better.low < better.value < better.high and better.p == LEAST
    assert worse.low < worse.value < worse.high < 0
    assert same.low < 0 < same.high and same.p_holm > 0.05


def test_a_comparison_is_the_paired_bootstrap_of_all_common_seeds(made: MadeUp) -> None:
    ours, theirs = (
        torch.stack([made.counts[f"{trial}-seed{seed}"] for seed in (1, 2, 3)]) for trial in ("neuroiou-000", "ce-000")
    )
    draws = draw(3, IMAGES, resamples=RESAMPLES)
    for measure, one in zip((*MEANS, *CLASSES), differences(ours, theirs, draws, background=0), strict=True):
        found = made.comparison("neuroiou-000", "ce", measure)
        assert (found.value, found.low, found.high, found.p) == (one.value, one.low, one.high, one.p)


def test_what_a_trial_reached_is_the_mean_over_its_seeds(made: MadeUp) -> None:
    found = made.verdicts["neuroiou-000"]
    assert (found.trial, found.arm, found.seeds) == ("neuroiou-000", "neuroiou", [1, 2, 3])
    assert found.miou_per_seed == pytest.approx([made.miou("neuroiou-000", seed) for seed in (1, 2, 3)])
    assert len(set(found.miou_per_seed)) == 3
    assert found.scores["miou"] == pytest.approx(made.miou("neuroiou-000", 1, 2, 3))
    assert set(found.scores) == {*MEANS, *CLASSES}
    assert found.scores["miou_without_background"] == pytest.approx((found.scores["disc"] + found.scores["box"]) / 2)


def test_controls_are_compared_with_each_other_and_none_with_itself(made: MadeUp) -> None:
    against = {trial: [each.control for each in one.comparisons] for trial, one in made.verdicts.items()}
    assert list(dict.fromkeys(against["neuroiou-001"])) == ["ce", "soft_iou", "flip"]
    assert list(dict.fromkeys(against["flip-000"])) == ["ce", "soft_iou"]
    assert made.comparison("flip-000", "ce").verdict == "better"
    assert made.verdicts["neuroiou-000"].against("neuroiou") is None


@pytest.mark.parametrize("learned", [True, False])  # two learned trials, or three controls, with three or two controls
@pytest.mark.parametrize("measure", MEANS)
def test_the_p_values_of_a_mean_are_corrected_together(made: MadeUp, learned: bool, measure: str) -> None:
    family = {
        (trial, each.control): each
        for trial, one in made.verdicts.items()
        for each in one.comparisons
        if (one.arm == "neuroiou") == learned and each.measure == measure
    }
    assert len(family) == 6
    assert {key: each.p_holm for key, each in family.items()} == holm({key: each.p for key, each in family.items()})


def test_the_p_values_of_the_classes_are_corrected_for_each_pair(made: MadeUp) -> None:
    for one in made.verdicts.values():
        for control in {each.control for each in one.comparisons}:
            pair = [each for each in one.comparisons if each.control == control and each.measure in CLASSES]
            assert {each.measure: each.p_holm for each in pair} == holm({each.measure: each.p for each in pair})


def test_a_verdict_is_of_the_corrected_p_value(made: MadeUp) -> None:
    found = [each for one in made.verdicts.values() for each in one.comparisons]
    assert all((each.verdict == "no difference") == (not each.p_holm < 0.05) for each in found)
    assert all(each.p <= each.p_holm for each in found) and any(each.p < each.p_holm for each in found)


def test_a_verdict_is_of_the_level_that_the_study_asks_for(tmp_path: Path) -> None:
    sure = played(tmp_path, confirm={"seeds": 3, "top": 2, "resamples": RESAMPLES, "confidence": 0.99})
    one = sure.comparison("neuroiou-000", "ce")
    assert 0.01 < one.p_holm < 0.05 and one.verdict == "no difference"


def test_a_class_is_compared_on_its_own(tmp_path: Path) -> None:
    confirmation = {"seeds": 3, "resamples": RESAMPLES}
    made = MadeUp(make_study(confirm=confirmation, controls={"ce": CONTROLS["ce"]}), FolderStore(tmp_path))
    ours, theirs = made.searched("neuroiou", 0, 0.5), made.searched("ce", 0, 0.5)
    for seed in (1, 2, 3):
        made.confirmed(ours, seed, 0.6, disc=0.1, box=-0.1)
        made.confirmed(theirs, seed, 0.6)
    verdicts = {name: made.comparison("neuroiou-000", "ce", name).verdict for name in (*CLASSES, "miou")}
    assert verdicts == {"background": "no difference", "disc": "better", "box": "worse", "miou": "no difference"}


def test_a_seed_that_failed_is_left_out_of_both(tmp_path: Path) -> None:
    made = played(tmp_path, controls={"ce": CONTROLS["ce"]})
    ce, ours = made.records[2].assignment, made.records[0].assignment
    made.confirmed(ce, 3, None)
    made.confirmed(ours, 2, None)
    assert (made.verdicts["neuroiou-000"].seeds, made.verdicts["ce-000"].seeds) == ([1, 3], [1, 2])
    assert made.verdicts["neuroiou-000"].scores["miou"] == pytest.approx(made.miou("neuroiou-000", 1, 3))
    common = made.miou("neuroiou-000", 1) - made.miou("ce-000", 1)
    assert made.comparison("neuroiou-000", "ce").value == pytest.approx(common)
    assert common != pytest.approx(made.miou("neuroiou-000", 1, 3) - made.miou("ce-000", 1, 2), abs=1e-6)


def test_without_a_common_seed_nothing_is_said(tmp_path: Path) -> None:
    made = played(tmp_path, controls={"ce": CONTROLS["ce"]})
    made.confirmed(made.records[2].assignment, 3, None)
    for seed in (1, 2):
        made.confirmed(made.records[0].assignment, seed, None)
    for measure in (*MEANS, *CLASSES):
        apart = made.comparison("neuroiou-000", "ce", measure)
        assert all(math.isnan(value) for value in (apart.value, apart.low, apart.high, apart.p, apart.p_holm))
    # It is no comparison, so the other trial's is the only one of its family.
    other = made.comparison("neuroiou-001", "ce")
    assert other.p_holm == other.p


def test_a_trial_whose_seeds_all_failed_is_not_confirmed(tmp_path: Path) -> None:
    made = played(tmp_path, controls={"ce": CONTROLS["ce"]})
    for seed in (1, 2, 3):
        made.confirmed(made.records[0].assignment, seed, None)
    assert set(made.verdicts) == {"neuroiou-001", "ce-000"}


def test_candidates_and_fresh_seeds_of_now_count_alone(tmp_path: Path) -> None:
    made = played(tmp_path)
    before = made.verdicts
    made.confirmed(made.records[0].assignment, 9, 0.1)  # of a study that confirmed on more seeds
    assert made.verdicts == before
    better = made.searched("neuroiou", 2, 0.8)  # a search that went on has another second best
    assert set(made.verdicts) == set(before) - {"neuroiou-000"}
    for seed in (1, 2, 3):
        made.confirmed(better, seed, 0.65)
    assert set(made.verdicts) == set(before) - {"neuroiou-000"} | {"neuroiou-002"}


def test_without_a_confirmation_there_is_no_verdict(tmp_path: Path) -> None:
    made = played(tmp_path)
    assert confirm(make_study(confirm=None), made.store, made.records) == {}
    assert confirm(made.study, FolderStore(tmp_path / "empty"), made.records) == {}
