from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.losses import CrossEntropyLoss, SoftIoULoss, median_frequency_weights
from neuroiou_study.core.reduction import SegmentationLoss
from tests.core.examples import batch

WEIGHTS = [0.5, 1.0, 2.0, 4.0]
AGGREGATES = ("image", "batch")


def _all_losses() -> list[SegmentationLoss]:
    soft = [SoftIoULoss(aggregate=aggregate) for aggregate in AGGREGATES]
    return [CrossEntropyLoss(), CrossEntropyLoss(class_weights=WEIGHTS), *soft]


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


@pytest.mark.parametrize("loss_fn", _all_losses())
def test_gradient_is_right(loss_fn: SegmentationLoss) -> None:
    logits, labels = batch(height=3, width=3)
    assert torch.autograd.gradcheck(lambda z: loss_fn(z, labels), logits.requires_grad_(True))


@pytest.mark.parametrize("loss_fn", _all_losses())
def test_an_all_void_batch_has_loss_0_and_gradient_0(loss_fn: SegmentationLoss) -> None:
    logits, labels = batch()
    logits.requires_grad_(True)
    loss = loss_fn(logits, torch.full_like(labels, 255))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("loss_fn", _all_losses())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_do_not_overflow(loss_fn: SegmentationLoss, dtype: torch.dtype) -> None:
    # 80 000 pixels: the sum and the number of pixels are both beyond float16.
    logits, labels = batch(height=200, width=200)
    loss = loss_fn(logits.to(dtype), labels)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(loss_fn(logits, labels)), rel=2e-3)


@pytest.mark.parametrize("loss_fn", _all_losses())
def test_void_pixels_have_no_say(loss_fn: SegmentationLoss) -> None:
    logits, labels = batch()
    changed = logits + 5 * torch.randn_like(logits) * (labels == 255).unsqueeze(1)
    assert not torch.equal(changed, logits)
    torch.testing.assert_close(loss_fn(changed, labels), loss_fn(logits, labels))


def test_an_unknown_aggregate_is_refused() -> None:
    with pytest.raises(ValueError, match="aggregate: 'imge': one of image, batch"):
        SoftIoULoss(aggregate="imge")


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
