import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from neuroiou_study.core.counts import hard_counts
from neuroiou_study.core.metrics import iou, iou_loss, mean_iou, pixel_accuracy
from tests.core.examples import batch

# TP, FP, FN of three classes; nobody has seen the last one.
COUNTS = torch.tensor([[6, 2, 4], [3, 3, 0], [0, 0, 0]])


def test_iou_of_hand_worked_counts() -> None:
    per_class = iou(COUNTS).tolist()
    assert per_class[:2] == [0.5, 0.5]
    assert math.isnan(per_class[2])


def test_mean_iou_leaves_absent_classes_out() -> None:
    assert mean_iou(COUNTS) == 0.5
    assert mean_iou(torch.tensor([[1, 0, 0], [0, 3, 1], [0, 0, 0]])) == 0.5


def test_mean_iou_without_background() -> None:
    counts = torch.tensor([[1, 0, 0], [1, 1, 2], [0, 1, 1]])
    assert mean_iou(counts, without=0) == pytest.approx((0.25 + 0) / 2)
    assert mean_iou(counts, without=2) == pytest.approx((1 + 0.25) / 2)


def test_mean_iou_of_nothing_is_nan() -> None:
    assert math.isnan(mean_iou(torch.zeros(3, 3, dtype=torch.int64)))


def test_iou_loss_is_paper_eq_1() -> None:
    assert iou_loss(torch.tensor([[6, 2, 4], [0, 0, 3], [5, 0, 0]])).tolist() == [0.5, 1.0, 0.0]


def test_pixel_accuracy_of_hand_worked_counts() -> None:
    # 9 of the 13 labelled pixels are right.
    assert pixel_accuracy(COUNTS) == pytest.approx(9 / 13)
    assert math.isnan(pixel_accuracy(torch.zeros(3, 3, dtype=torch.int64)))


@pytest.mark.parametrize("ignore_index", [255, 1])
def test_metrics_equal_torchmetrics(ignore_index: int) -> None:
    logits, labels = batch(images=4, classes=5, ignore_index=ignore_index)
    preds = logits.argmax(1)
    counts = hard_counts(preds, labels, 5, ignore_index).sum(0)
    jaccard = multiclass_jaccard_index(preds, labels, num_classes=5, average=None, ignore_index=ignore_index)
    accuracy = multiclass_accuracy(preds, labels, num_classes=5, average="micro", ignore_index=ignore_index)
    seen = [c for c in range(5) if c != ignore_index]
    torch.testing.assert_close(iou(counts)[seen].float(), jaccard[seen])
    assert pixel_accuracy(counts) == pytest.approx(float(accuracy))


def test_iou_of_the_whole_is_not_the_mean_of_its_images() -> None:
    images = torch.tensor([[[9, 0, 1]], [[0, 0, 90]]])
    assert mean_iou(images.sum(0)) == pytest.approx(0.09)
    assert float(iou(images).mean()) == pytest.approx(0.45)
