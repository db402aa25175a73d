import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from neuroiou_study.core.counts import FN, TP, hard_counts, probability_statistics
from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.gains import analytic_gradient
from neuroiou_study.core.losses import (
    ClosedFormLoss,
    CrossEntropyLoss,
    FlipLoss,
    MixedLoss,
    SoftIoULoss,
    StatisticsLoss,
    enet_weights,
    median_frequency_weights,
)
from neuroiou_study.core.metrics import iou_loss
from neuroiou_study.core.reduction import Reduction, in_labels
from tests.core.examples import AGGREGATES, batch

WEIGHTS = [0.5, 1.0, 2.0, 4.0]
REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum")


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("ignore_index", [255, 4, -100])
def test_cross_entropy_equals_torch(weights: list[float] | None, ignore_index: int) -> None:
    logits, labels = batch(ignore_index=ignore_index)
    ours = logits.clone().requires_grad_(True)
    theirs = logits.clone().requires_grad_(True)
    loss = CrossEntropyLoss(ignore_index, weights)(ours, labels)
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    expected = F.cross_entropy(theirs, labels, weight=weight, ignore_index=ignore_index)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def _naive_soft_iou(logits: Tensor, labels: Tensor, ignore_index: int) -> list[list[float]]:
    """1 - Σ X·Y / Σ (X + Y - X·Y) for each image and class in its labels, by the formula of Rahman and Wang."""
    losses: list[list[float]] = []
    for image_logits, image_labels in zip(logits, labels, strict=True):
        valid = image_labels != ignore_index
        losses.append([])
        for class_index in image_labels[valid].unique().tolist():
            x = image_logits.softmax(0)[class_index][valid]
            y = (image_labels[valid] == class_index).double()
            losses[-1].append(float(1 - (x * y).sum() / (x + y - x * y).sum()))
    return losses


def test_soft_iou_per_image_equals_the_authors_formula() -> None:
    logits, labels = batch(images=3)
    labels[0][labels[0] == 2] = 1  # an image without class 2: its mean is over fewer rows
    rows = [loss for image in _naive_soft_iou(logits, labels, 255) for loss in image]
    assert len(rows) == 11
    assert float(SoftIoULoss()(logits, labels)) == pytest.approx(sum(rows) / len(rows))


def test_soft_iou_per_batch_equals_the_formula_on_one_large_image() -> None:
    logits, labels = batch(images=3)
    whole_logits = logits.transpose(0, 1).flatten(1).view(1, 4, 1, -1)
    (rows,) = _naive_soft_iou(whole_logits, labels.view(1, 1, -1), 255)
    assert float(SoftIoULoss(aggregate="batch")(logits, labels)) == pytest.approx(sum(rows) / len(rows))


@pytest.mark.parametrize("kind", [SoftIoULoss, ClosedFormLoss, FlipLoss])
def test_an_unknown_aggregate_is_refused(kind: type[SoftIoULoss | StatisticsLoss]) -> None:
    with pytest.raises(ValueError, match="aggregate: 'imge': one of image, batch"):
        kind(aggregate="imge")


# The image that test_counts works by hand.
LABELS = torch.tensor([[[0, 1, 2], [1, 255, 0]]])
PROBS = torch.tensor(
    [
        [[0.70, 0.20, 0.10], [0.50, 0.30, 0.20], [0.10, 0.30, 0.60]],  # TP of 0 | FN of 1, FP of 0 | TP of 2
        [[0.20, 0.60, 0.20], [0.90, 0.05, 0.05], [0.30, 0.25, 0.45]],  # TP of 1 | void | FN of 0, FP of 2
    ],
    dtype=torch.float64,
)


def test_closed_form_of_a_hand_worked_image() -> None:
    # Class 0: TP .7, FP .5, FN 1 - .3. Class 1: TP .6, FN 1 - .3. Class 2: TP .6, FP .45.
    expected = ((0.5 + 0.7) / 1.9 + 0.7 / 1.3 + 0.45 / 1.05) / 3
    logits = PROBS.log().permute(2, 0, 1).unsqueeze(0)
    assert float(ClosedFormLoss()(logits, LABELS)) == pytest.approx(expected)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_closed_form_is_the_iou_loss_with_sums_for_counts(aggregate: str) -> None:
    logits, labels = batch(images=3)
    labels[0][labels[0] == 2] = 1
    counts, sums = probability_statistics(logits, labels)
    if aggregate == "batch":
        counts, sums = counts.sum(0), sums.sum(0)
    tp, fp, fn = sums[counts[..., TP] + counts[..., FN] > 0].unbind(-1)
    torch.testing.assert_close(ClosedFormLoss(aggregate=aggregate)(logits, labels), (1 - tp / (tp + fp + fn)).mean())


def test_closed_form_rises_with_fp_and_fn_and_falls_with_tp() -> None:
    counts = torch.tensor([[6, 2, 4], [1, 7, 2], [9, 1, 1]])
    sums = (counts * 0.7).double().requires_grad_(True)
    rows = ClosedFormLoss().row_losses(counts, sums, counts.sum(-1), torch.zeros(3).long())
    (gradient,) = torch.autograd.grad(rows.sum(), sums)
    assert gradient.sign().tolist() == [[-1, 1, 1]] * 3


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_the_flip_loss_is_the_mean_true_iou_loss(aggregate: str) -> None:
    logits, labels = batch(images=3)
    labels[0][labels[0] == 2] = 1
    counts = hard_counts(logits.argmax(1), labels, 4, 255)
    counts = counts.sum(0) if aggregate == "batch" else counts
    expected = iou_loss(counts[in_labels(counts)]).mean()
    torch.testing.assert_close(FlipLoss(aggregate=aggregate)(logits, labels), expected)


def _what_flips_gain(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over rows of each pixel's probability times what flipping it changes, pixel by pixel."""
    counts: list[list[list[int]]] = hard_counts(logits.argmax(1), labels, 4, 255).tolist()
    num_rows = sum(tp + fn > 0 for image in counts for tp, _, fn in image)
    gain = torch.zeros((), dtype=torch.float64)
    for b, row, column in (labels != 255).nonzero().tolist():
        y, k = int(labels[b, row, column]), int(logits[b, :, row, column].argmax())
        p = logits[b, :, row, column].softmax(0)
        gain -= p[y] / sum(counts[b][y])
        tp, fp, fn = counts[b][k]
        if k != y and tp + fn > 0:
            gain += p[k] * (tp / (tp + fp + fn - 1) - tp / (tp + fp + fn))
    return gain / num_rows


def test_the_gradient_of_the_flip_loss_is_what_flips_gain() -> None:
    logits, labels = batch()
    labels[0][labels[0] == 2] = 1  # class 2 is predicted there all the same, in no row
    logits.requires_grad_(True)
    (expected,) = torch.autograd.grad(_what_flips_gain(logits, labels), logits)
    (gradient,) = torch.autograd.grad(FlipLoss()(logits, labels), logits)
    torch.testing.assert_close(gradient, expected)


def test_the_flip_loss_pulls_at_a_dead_class() -> None:
    # Four pixels of class 0 and two of class 1, which nobody predicts.
    labels = torch.tensor([[[0, 0, 0, 0, 1, 1]]])
    logits = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1).repeat(1, 1, 1, 6).requires_grad_(True)
    dead = hard_counts(logits.argmax(1), labels, 3, 255)[:, 1]
    assert dead.tolist() == [[0, 0, 2]]
    assert analytic_gradient(dead)[0, FN] == 0
    (gradient,) = torch.autograd.grad(FlipLoss()(logits, labels), logits)
    assert bool((gradient[0, 1, 0, 4:] < 0).all())


def test_a_mixed_loss_is_the_weighted_sum_of_its_parts() -> None:
    logits, labels = batch()
    mixed = MixedLoss({CrossEntropyLoss(): 0.3, FlipLoss(): 2.0, SoftIoULoss(aggregate="batch"): 0.0})
    expected = 0.3 * CrossEntropyLoss()(logits, labels) + 2.0 * FlipLoss()(logits, labels)
    torch.testing.assert_close(mixed(logits, labels), expected)


def test_a_mixed_loss_reduces_as_it_is_told_all_through() -> None:
    logits, labels = batch()
    inner, outer = CrossEntropyLoss(), SoftIoULoss()
    mixed = MixedLoss({MixedLoss({inner: 2.0}): 1.0, outer: 1.0})
    mixed.reduction, mixed.sum_over_workers = "sum", torch.Tensor.double
    for part in (inner, outer):
        assert (part.reduction, part.sum_over_workers) == ("sum", torch.Tensor.double)
    torch.testing.assert_close(mixed(logits, labels), 2 * inner(logits, labels) + outer(logits, labels))
    assert CrossEntropyLoss().reduction == "mean"


def test_a_mixed_loss_has_its_parts_buffers() -> None:
    assert list(MixedLoss({CrossEntropyLoss(class_weights=WEIGHTS): 1.0}).state_dict()) == ["parts.0.class_weights"]


def test_median_frequency_weights_of_hand_worked_pixels() -> None:
    # Two images of 100 pixels; classes 0, 1, 2 and 3, void. Nobody has seen class 2.
    pixels = torch.tensor([[40, 30, 0, 20, 10], [60, 40, 0, 0, 0]])
    # Shares .5 and .35 of both images, .2 of the first; their median is .35.
    expected = torch.tensor([0.35 / 0.5, 1.0, 1.0, 0.35 / 0.2])
    torch.testing.assert_close(median_frequency_weights(pixels), expected)


def test_median_frequency_weights_of_camvid_are_the_published_ones(camvid: Path) -> None:
    # From the data set's README, computed there from the whole train list.
    published = [0.279, 0.202, 4.787, 0.149, 1.000, 0.422, 3.847, 1.974, 0.789, 6.375, 8.859]
    train, select = CamvidDataset(camvid, "train"), CamvidDataset(camvid, "select")
    weights = median_frequency_weights(torch.cat([train.pixels_per_class(), select.pixels_per_class()]))
    torch.testing.assert_close(weights, torch.tensor(published), rtol=0, atol=5e-4)


def test_enet_weights_of_hand_worked_pixels() -> None:
    # Two images of 110 and 100 pixels, 10 of them void; of the 200 others .5, .3, 0 and .2 are of each class.
    pixels = torch.tensor([[30, 30, 0, 40, 10], [70, 30, 0, 0, 0]])
    expected = [2.38829, 3.60189, 50.49835, 5.02889]  # 1 / ln 1.52, 1 / ln 1.32, 1 / ln 1.02, 1 / ln 1.22
    torch.testing.assert_close(enet_weights(pixels), torch.tensor(expected), rtol=1e-5, atol=0)


def test_enet_weights_of_nothing_are_those_of_unseen_classes() -> None:
    assert enet_weights(torch.tensor([[0, 0, 7]])).tolist() == pytest.approx([1 / math.log(1.02)] * 2)
