import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_stat_scores

from neuroiou_study.core.counts import (
    FN,
    FP,
    TP,
    Reading,
    Statistics,
    hard_counts,
    hinge_statistics,
    log_statistics,
    probability_statistics,
)
from tests.core.examples import batch

STATISTICS: dict[str, Callable[..., Statistics]] = {
    "class": partial(probability_statistics, reading="class"),
    "predicted": partial(probability_statistics, reading="predicted"),
    "complement": partial(probability_statistics, reading="complement"),
    "crammer_singer": partial(hinge_statistics, hinge="crammer_singer"),
    "one_vs_rest": partial(hinge_statistics, hinge="one_vs_rest"),
    "log": log_statistics,
}
LABELS = torch.tensor([[[0, 1, 2], [1, 255, 0]]])
PROBS = torch.tensor(
    [
        [[0.70, 0.20, 0.10], [0.50, 0.30, 0.20], [0.10, 0.30, 0.60]],  # TP of 0 | FN of 1, FP of 0 | TP of 2
        [[0.20, 0.60, 0.20], [0.90, 0.05, 0.05], [0.30, 0.25, 0.45]],  # TP of 1 | void | FN of 0, FP of 2
    ],
    dtype=torch.float64,
)
LOGITS = PROBS.log().permute(2, 0, 1).unsqueeze(0)
COUNTS = torch.tensor([[[1, 1, 1], [1, 0, 1], [1, 1, 0]]])


def test_counts_of_a_hand_worked_image() -> None:
    assert torch.equal(hard_counts(LOGITS.argmax(1), LABELS, 3, 255), COUNTS)


@pytest.mark.parametrize(
    ("reading", "missed"),
    [("class", [0.3, 0.3, 0.0]), ("predicted", [0.45, 0.5, 0.0]), ("complement", [0.7, 0.7, 0.0])],
)
def test_probability_sums_of_a_hand_worked_image(reading: Reading, missed: list[float]) -> None:
    counts, sums = probability_statistics(LOGITS, LABELS, reading=reading)
    assert torch.equal(counts, COUNTS)
    torch.testing.assert_close(sums[0, :, TP], torch.tensor([0.7, 0.6, 0.6], dtype=torch.float64))
    torch.testing.assert_close(sums[0, :, FP], torch.tensor([0.5, 0.0, 0.45], dtype=torch.float64))
    torch.testing.assert_close(sums[0, :, FN], torch.tensor(missed, dtype=torch.float64))


def test_hinge_sums_of_a_hand_worked_image() -> None:
    # Pixels: right by a margin of 2 (hinge 0), right by 0.25 (0.75), wrong by 1.5 (2.5), void.
    logits = torch.tensor([[3.0, 1.0], [1.0, 1.25], [2.0, 0.5], [0.0, 9.0]]).T.reshape(1, 2, 2, 2)
    labels = torch.tensor([[[0, 1], [1, 255]]])
    counts, sums = hinge_statistics(logits, labels)
    assert counts.tolist() == [[[1, 1, 0], [1, 0, 1]]]
    assert sums.tolist() == [[[0.0, 2.5, 0.0], [0.75, 0.0, 2.5]]]


def test_one_vs_rest_hinge_sums_of_a_hand_worked_image() -> None:
    # Scores right and beyond 1 (hinge 0), right at 0.25 (1 - 0.25), missed at -0.5 (1 + 0.5) for 2 (1 + 2), missed at
    # 1.5 (0, though wrong) for 3 (1 + 3), void.
    logits = torch.tensor([[3.0, 1.0], [0.0, 0.25], [2.0, -0.5], [1.5, 3.0], [0.0, 9.0]]).T.reshape(1, 2, 1, 5)
    counts, sums = hinge_statistics(logits, torch.tensor([[[0, 1, 1, 0, 255]]]), hinge="one_vs_rest")
    assert counts.tolist() == [[[1, 1, 1], [1, 1, 1]]]
    assert sums.tolist() == [[[0.0, 3.0, 0.0], [0.75, 4.0, 1.5]]]


def test_log_sums_of_a_hand_worked_image() -> None:
    counts, sums = log_statistics(LOGITS, LABELS)
    assert torch.equal(counts, COUNTS)
    hits, false, missed = (-math.log(p) for p in (0.7, 0.5, 0.3))
    assert sums[0, 0].tolist() == pytest.approx([hits, false, missed])


def test_the_log_loss_of_a_sure_error_is_finite_and_pulls() -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0]]).reshape(1, 3, 1, 1).requires_grad_(True)
    sums = log_statistics(logits, torch.ones(1, 1, 1, dtype=torch.int64)).sums
    sums.sum().backward()
    assert sums[0, 1, FN].item() == pytest.approx(200) and sums[0, 0, FP].item() == pytest.approx(200, rel=0.01)
    assert logits.grad is not None and logits.grad.flatten()[:2].tolist() == pytest.approx([2, -1.5])


def test_crammer_singer_is_the_default_hinge() -> None:
    logits, labels = batch()
    assert torch.equal(hinge_statistics(logits, labels).sums, STATISTICS["crammer_singer"](logits, labels).sums)
    assert not torch.equal(hinge_statistics(logits, labels).sums, STATISTICS["one_vs_rest"](logits, labels).sums)


@pytest.mark.parametrize("ignore_index", [255, 3, -100])
def test_counts_equal_torchmetrics(ignore_index: int) -> None:
    logits, labels = batch(images=3, classes=4, ignore_index=ignore_index)
    preds = logits.argmax(1)
    oracle = multiclass_stat_scores(
        preds, labels, num_classes=4, average=None, multidim_average="samplewise", ignore_index=ignore_index
    )
    tp, fp, _, fn, _ = oracle.unbind(-1)
    assert torch.equal(hard_counts(preds, labels, 4, ignore_index), torch.stack([tp, fp, fn], dim=-1))


def _naive(logits: Tensor, labels: Tensor, ignore_index: int, kind: str) -> Statistics:
    """Counts and sums, pixel by pixel; ``kind`` is a reading or a hinge."""
    num_images, num_classes, height, width = logits.shape
    counts = torch.zeros(num_images, num_classes, 3, dtype=torch.int64)
    sums = torch.zeros(num_images, num_classes, 3, dtype=torch.float64)
    for i, row, column in torch.cartesian_prod(*map(torch.arange, (num_images, height, width))).tolist():
        y = int(labels[i, row, column])
        if y == ignore_index:
            continue
        z = logits[i, :, row, column].double()
        k = int(z.argmax())
        at_hit, at_missed, at_false = _values(z, y, k, kind)
        for class_index, which, value in [(y, TP, at_hit)] if k == y else [(y, FN, at_missed), (k, FP, at_false)]:
            counts[i, class_index, which] += 1
            sums[i, class_index, which] += value
    return Statistics(counts, sums)


def _values(z: Tensor, y: int, k: int, kind: str) -> tuple[float, float, float]:
    """What a pixel adds to TP if it is a hit, and otherwise to FN and to FP."""
    if kind == "log":
        p = z.softmax(0)
        return -math.log(p[y]), -math.log(p[y]), -math.log(1 - p[k])
    if kind == "one_vs_rest":
        return max(0.0, 1 - float(z[y])), max(0.0, 1 - float(z[y])), max(0.0, 1 + float(z[k]))
    if kind == "crammer_singer":
        rival = max(float(z[j]) for j in range(len(z)) if j != y)
        hinge = max(0.0, 1 + rival - float(z[y]))
        return hinge, hinge, hinge
    p = z.softmax(0)
    missed = {"class": p[y], "predicted": p[k], "complement": 1 - p[y]}[kind]
    return float(p[y]), float(missed), float(p[k])


@pytest.mark.parametrize("kind", STATISTICS)
@pytest.mark.parametrize(("classes", "ignore_index"), [(4, 255), (11, 11), (4, 0)])
def test_statistics_equal_a_loop_over_pixels(kind: str, classes: int, ignore_index: int) -> None:
    logits, labels = batch(classes=classes, ignore_index=ignore_index)
    counts, sums = STATISTICS[kind](logits, labels, ignore_index=ignore_index)
    expected = _naive(logits, labels, ignore_index, kind)
    assert torch.equal(counts, expected.counts)
    torch.testing.assert_close(sums, expected.sums)


@pytest.mark.parametrize("kind", STATISTICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_statistics_of_lower_precision_equal_those_of_the_same_numbers_in_float64(
    kind: str, dtype: torch.dtype
) -> None:
    logits, labels = batch()
    counts, sums = STATISTICS[kind](logits.to(dtype), labels)
    expected = _naive(logits.to(dtype), labels, 255, kind)
    assert torch.equal(counts, expected.counts)
    assert sums.dtype == torch.float64
    torch.testing.assert_close(sums, expected.sums, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", STATISTICS)
def test_memory_layout_changes_nothing(kind: str) -> None:
    logits, labels = batch()
    expected = STATISTICS[kind](logits, labels)
    wide = torch.stack([logits, logits + 1], dim=-1)
    for same in (logits.contiguous(memory_format=torch.channels_last), wide[..., 0]):
        assert not same.is_contiguous()
        counts, sums = STATISTICS[kind](same, labels.mT.contiguous().mT)
        assert torch.equal(counts, expected.counts)
        torch.testing.assert_close(sums, expected.sums)


@pytest.mark.parametrize("kind", STATISTICS)
def test_an_all_void_image_counts_nowhere_and_has_no_gradient(kind: str) -> None:
    logits, labels = batch()
    labels[0] = 255
    logits.requires_grad_(True)
    counts, sums = STATISTICS[kind](logits, labels)
    assert counts[0].sum() == 0
    assert sums[0].abs().sum() == 0
    (gradient,) = torch.autograd.grad(sums.sum(), logits)
    assert gradient[0].abs().sum() == 0
    assert gradient[1].abs().sum() > 0


@pytest.mark.parametrize("kind", STATISTICS)
def test_gradient_of_the_sums_is_right(kind: str) -> None:
    logits, labels = batch(height=3, width=3)
    logits.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: STATISTICS[kind](z, labels).sums, logits)


def test_sums_of_two_million_pixels_are_exact_to_float64() -> None:
    # 0.1 has no exact float32; adding it 2²¹ times in float32 would be off by several hundred.
    p = torch.tensor([0.9, 0.1])
    logits = p.log().view(1, 2, 1, 1).expand(1, 2, 1024, 2048)
    labels = torch.ones(1, 1024, 2048, dtype=torch.int64)
    sums = probability_statistics(logits, labels, reading="class").sums
    assert float(sums[0, 1, FN]) == pytest.approx(0.1 * 2**21, rel=1e-6)
