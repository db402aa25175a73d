import math
from statistics import fmean

import pytest
import torch
from torch import Tensor

from neuroiou_study.core.significance import (
    Draws,
    differences,
    draw,
    holm,
    mean_scores,
    resampled_scores,
    scores,
)

NAN = float("nan")
SEEDS, IMAGES, CLASSES, PIXELS = 3, 24, 3, 100


def make_counts(rates: Tensor, generator: torch.Generator) -> Tensor:
    """``(S, N, C, 3)`` counts of networks that are right about ``rates`` ``(S, N, C)`` of 100 pixels of each class."""
    right = torch.binomial(torch.full_like(rates, PIXELS), rates.clamp(0, 1), generator=generator).long()
    wrong = PIXELS - right
    return torch.stack([right, wrong.roll(1, dims=-1), wrong], dim=-1)


def arms(gain: float = 0.0, *, spread: float = 0.2, seed: int = 0, num_seeds: int = SEEDS) -> tuple[Tensor, Tensor]:
    """Counts of two arms on images of which some are hard for both; the first is right about ``gain`` more."""
    generator = torch.Generator().manual_seed(seed)
    difficulty = spread * torch.randn((IMAGES, 1), generator=generator)
    rates = (0.6 + difficulty).expand(num_seeds, IMAGES, CLASSES)
    return make_counts(rates + gain, generator), make_counts(rates, generator)


DRAWS = draw(SEEDS, IMAGES, resamples=500)


def test_scores_of_hand_worked_counts() -> None:
    # IoU 0.5, 0.25 and none; class 0 is background.
    counts = torch.tensor([[6, 2, 4], [1, 1, 2], [0, 0, 0]])
    assert scores(counts)[:4].tolist() == [0.375, 0.375, 0.5, 0.25]
    assert scores(counts, background=0)[:4].tolist() == [0.375, 0.25, 0.5, 0.25]
    assert math.isnan(scores(counts)[4])


def test_images_are_added_up_before_the_ratio_and_seeds_after() -> None:
    # Seed 0 has IoU (1 + 8) / (2 + 16), seed 1 has 1 on the first image alone.
    counts = torch.tensor([[[[1, 1, 0]], [[8, 4, 4]]], [[[2, 0, 0]], [[0, 0, 0]]]])
    assert mean_scores(counts).tolist() == [0.75] * 3


def naive_scores(counts: Tensor, images: list[int], seeds: list[int]) -> list[float]:
    """Mean IoU and the classes' IoU, averaged over ``seeds``, where images and seeds are as often as they are named."""
    each = []
    for seed in seeds:
        totals = [[sum(int(counts[seed, i, c, k]) for i in images) for k in range(3)] for c in range(CLASSES)]
        ious = [tp / (tp + fp + fn) if tp + fp + fn else NAN for tp, fp, fn in totals]
        each.append([_nanmean(ious), *ious])
    return [_nanmean([found[index] for found in each]) for index in range(1 + CLASSES)]


def _nanmean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else NAN


def _drawn(times: Tensor) -> list[int]:
    return [index for index, number in enumerate(times.tolist()) for _ in range(int(number))]


def test_resampled_scores_are_those_of_a_naive_bootstrap() -> None:
    counts = arms()[0][:, :5].clone()
    counts[:, 1:, 2] = 0  # class 2 is in one image of five, and in seed 1 nowhere
    counts[1, :, 2] = 0
    draws = draw(SEEDS, 5, resamples=40, images_per_block=2)
    found = resampled_scores(counts, draws)[..., [0, 2, 3, 4]]
    expected = torch.tensor(
        [[naive_scores(counts, _drawn(images), [seed]) for seed in range(SEEDS)] for images in draws.images],
        dtype=torch.float64,
    )
    assert expected[..., -1].isnan().any() and not expected[..., -1].isnan().all()
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_each_draw_has_as_many_images_as_there_are() -> None:
    assert DRAWS.images.shape == (500, IMAGES) and (DRAWS.images.sum(1) == IMAGES).all()
    assert DRAWS.images.mean(0).sub(1).abs().max() < 0.2  # no image has a better chance than another
    assert DRAWS.images.max() > 2 and DRAWS.images.min() == 0


@pytest.mark.parametrize(("num_seeds", "beyond"), [(3, 4.303), (5, 2.776), (11, 2.228)])
def test_the_draws_of_seeds_are_student_s_t(num_seeds: int, beyond: float) -> None:
    drawn = draw(num_seeds, 2, resamples=40_000).seeds  # a twentieth lies beyond the table's two-sided value
    assert float((drawn.abs() > beyond).double().mean()) == pytest.approx(0.05, abs=0.004)
    assert float((drawn > 0).double().mean()) == pytest.approx(0.5, abs=0.01)


def test_a_single_seed_shows_no_spread() -> None:
    assert not draw(1, 3, resamples=50).seeds.any()


def test_the_images_of_a_block_are_drawn_together() -> None:
    images = draw(1, 10, resamples=100, images_per_block=4).images
    blocks = [images[:, :4], images[:, 4:8], images[:, 8:]]
    assert all((block == block[:, :1]).all() for block in blocks)
    assert (torch.stack([block[:, 0] for block in blocks]).sum(0) == 3).all()
    assert (blocks[0][:, 0] != blocks[1][:, 0]).any()


def test_draws_are_decided_by_their_seed() -> None:
    def drawn(seed: int) -> Draws:
        return draw(2, 7, resamples=20, seed=seed)

    assert torch.equal(drawn(1).images, drawn(1).images) and torch.equal(drawn(1).seeds, drawn(1).seeds)
    assert not torch.equal(drawn(1).images, drawn(2).images)
    torch.manual_seed(99)
    assert torch.equal(drawn(0).images, draw(2, 7, resamples=20).images)


def test_an_arm_does_not_differ_from_itself() -> None:
    ours, _ = arms()
    for each in differences(ours, ours.clone(), DRAWS):
        assert (each.value, each.low, each.high, each.p) == (0, 0, 0, 1)


def test_a_clear_difference_is_found_in_every_score() -> None:
    ours, theirs = arms(gain=0.1)
    found = differences(ours, theirs, DRAWS, background=0)
    assert len(found) == 2 + CLASSES
    for each in found:
        assert 0 < each.low < each.value < each.high < 0.3
        assert each.p < 0.05


def test_the_other_way_round_is_the_opposite() -> None:
    ours, theirs = arms(gain=0.02)
    for one, other in zip(differences(ours, theirs, DRAWS), differences(theirs, ours, DRAWS), strict=True):
        assert one.value == pytest.approx(-other.value)
        # The draws of seeds are not mirrored.
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=0.01)
        assert one.p == pytest.approx(other.p, abs=0.1)


def test_a_higher_confidence_has_a_wider_interval() -> None:
    ours, theirs = arms(gain=0.02)
    (wide, *_), (narrow, *_) = (differences(ours, theirs, DRAWS, confidence=level) for level in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert (wide.value, wide.p) == (narrow.value, narrow.p)


def test_what_makes_an_image_hard_for_both_cancels() -> None:
    ours, theirs = arms(gain=0.02, spread=0.3)
    paired = differences(ours, theirs, DRAWS)[0]
    apart = resampled_scores(ours, DRAWS) - resampled_scores(theirs, draw(SEEDS, IMAGES, resamples=500, seed=1))
    low, high = torch.quantile(apart[:, 0], torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    assert paired.high - paired.low < 0.2 * (high - low)
    assert paired.low > 0 > low


def test_neighbours_that_resemble_each_other_widen_the_interval_of_blocks() -> None:
    generator = torch.Generator().manual_seed(0)
    gains = 0.1 * torch.randn((4, 1, 1), generator=generator).expand(4, 6, 1).reshape(1, IMAGES, 1)
    rates = torch.full((SEEDS, IMAGES, CLASSES), 0.6)
    ours, theirs = make_counts(rates + gains, generator), make_counts(rates, generator)
    alone, together = (
        differences(ours, theirs, draw(SEEDS, IMAGES, resamples=500, images_per_block=size))[0] for size in (1, 6)
    )
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_seeds_that_differ_widen_the_interval() -> None:
    generator = torch.Generator().manual_seed(0)
    gains = torch.tensor([-0.1, 0.0, 0.1]).reshape(SEEDS, 1, 1)
    rates = torch.full((SEEDS, IMAGES, CLASSES), 0.6)
    theirs = make_counts(rates, generator)
    unequal = differences(make_counts(rates + gains, generator), theirs, DRAWS)[0]
    equal = differences(make_counts(rates, generator), theirs, DRAWS)[0]
    assert unequal.high - unequal.low > 2 * (equal.high - equal.low)
    assert unequal.low < 0 < unequal.high


def test_a_class_that_neither_has_is_nan_and_no_other() -> None:
    ours, theirs = (counts.clone() for counts in arms(gain=0.1))
    ours[:, :, 2] = theirs[:, :, 2] = 0
    *known, absent = differences(ours, theirs, DRAWS)
    assert all(math.isnan(value) for value in (absent.value, absent.low, absent.high, absent.p))
    assert all(each.low > 0 for each in known)


def test_a_class_of_few_images_has_an_interval_of_the_draws_that_have_it() -> None:
    ours, theirs = (counts.clone() for counts in arms(gain=0.1))
    ours[:, 1:, 2] = theirs[:, 1:, 2] = 0
    rare = differences(ours, theirs, DRAWS)[-1]
    without = int((DRAWS.images[:, 0] == 0).sum())
    assert 100 < without < 300  # about 500 / e
    assert rare.low < rare.value < rare.high


def test_one_comparison_in_twenty_of_equal_arms_is_called_different() -> None:
    wrong = 0
    for seed in range(200):
        ours, theirs = arms(seed=seed, num_seeds=1)
        wrong += differences(ours, theirs, draw(1, IMAGES, resamples=200, seed=seed))[0].p < 0.05
    assert 0.02 <= wrong / 200 <= 0.09


@pytest.mark.parametrize("seed_spread", [0.01, 0.05])
def test_seeds_that_differ_by_chance_are_not_called_different_more_often(seed_spread: float) -> None:
    wrong = 0
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        luck = seed_spread * torch.randn((2, SEEDS, 1, 1), generator=generator)
        ours, theirs = (make_counts(0.6 + each.expand(SEEDS, IMAGES, CLASSES), generator) for each in luck)
        wrong += differences(ours, theirs, draw(SEEDS, IMAGES, resamples=200, seed=seed))[0].p < 0.05
    assert wrong / 200 <= 0.08


def test_holm_of_hand_worked_p_values() -> None:
    corrected = holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.5, "e": NAN})
    # 4 × .01; 3 × .03; 2 × .04 would be less than that; 1 × .5.
    assert {key: corrected[key] for key in "abcd"} == pytest.approx({"a": 0.09, "b": 0.04, "c": 0.09, "d": 0.5})
    assert list(corrected) == list("abcde") and math.isnan(corrected["e"])


def test_holm_leaves_a_lone_p_value_and_never_exceeds_1() -> None:
    assert holm({"a": 0.04, "b": NAN})["a"] == 0.04
    assert holm({"a": 0.4, "b": 0.6}) == {"a": 0.8, "b": 0.8}
    assert holm({"a": 0.7, "b": 0.6}) == {"a": 1, "b": 1}
    assert holm({}) == {}
