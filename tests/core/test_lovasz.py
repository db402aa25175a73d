import pytest
import torch
from torch import Tensor

from neuroiou_study.core.counts import hard_counts
from neuroiou_study.core.lovasz import LovaszLoss
from neuroiou_study.core.metrics import iou_loss
from neuroiou_study.core.reduction import in_labels
from tests.core.examples import AGGREGATES, batch


def _jaccard_loss(wrong: set[int], of_class: set[int]) -> float:
    """Δ_J of a set of mispredicted pixels (eq. 6): its share of the union with the class's pixels."""
    return len(wrong) / len(of_class | wrong)


def _extension(errors: list[float], of_class: set[int]) -> float:
    """The Lovász extension of Δ_J at ``errors`` by its definition (eq. 8): one pixel at a time, the worst first."""
    order = sorted(range(len(errors)), key=lambda pixel: -errors[pixel])
    value, wrong = 0.0, set[int]()
    for pixel in order:
        value += errors[pixel] * (_jaccard_loss(wrong | {pixel}, of_class) - _jaccard_loss(wrong, of_class))
        wrong = wrong | {pixel}
    return value


def _naive(logits: Tensor, labels: Tensor) -> list[float]:
    """The extension of each class in ``labels`` ``(P,)``, some void, at ``logits`` ``(P, C)``."""
    valid = [pixel for pixel, label in enumerate(labels.tolist()) if label != 255]
    probs = logits.softmax(1).tolist()
    losses = []
    for c in sorted({int(labels[pixel]) for pixel in valid}):
        of_class = {place for place, pixel in enumerate(valid) if labels[pixel] == c}
        errors = [1 - probs[p][c] if labels[p] == c else probs[p][c] for p in valid]
        losses.append(_extension(errors, of_class))
    return losses


def _without_some_classes(seed: int) -> tuple[Tensor, Tensor]:
    """Three images, void pixels in all; class 2 is missing in one and class 3 in all."""
    logits, labels = batch(images=3, seed=seed)
    labels[0][labels[0] == 2] = 1
    labels[labels == 3] = 0
    return logits, labels


def _flat(logits: Tensor) -> Tensor:
    return logits.movedim(1, -1).flatten(0, -2)


@pytest.mark.parametrize("seed", range(4))
def test_a_batch_taken_together_equals_the_definition(seed: int) -> None:
    logits, labels = _without_some_classes(seed)
    expected = _naive(_flat(logits), labels.flatten())
    assert len(expected) == 3
    assert float(LovaszLoss()(logits, labels)) == pytest.approx(sum(expected) / 3, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_each_image_by_itself_equals_the_definition(seed: int) -> None:
    logits, labels = _without_some_classes(seed)
    expected = [loss for b in range(3) for loss in _naive(_flat(logits[b : b + 1]), labels[b].flatten())]
    assert len(expected) == 8
    assert float(LovaszLoss(aggregate="image")(logits, labels)) == pytest.approx(sum(expected) / 8, rel=1e-12)


def test_three_hand_worked_pixels() -> None:
    # Class 1 has pixels 0 and 1; the errors are .6, .1 and .5. Worst first: {0} costs 1/2, {0, 2} 2/3, all 3/3.
    # Class 0 has pixel 2 and the same errors: {0} costs 1/2, {0, 2} 2/2, all 3/3.
    p = torch.tensor([[0.6, 0.4], [0.1, 0.9], [0.5, 0.5]], dtype=torch.float64)
    logits, labels = p.log().T.reshape(1, 2, 1, 3), torch.tensor([[[1, 1, 0]]])
    of_one = 0.6 / 2 + 0.5 * (2 / 3 - 1 / 2) + 0.1 * (1 - 2 / 3)
    of_zero = 0.6 / 2 + 0.5 / 2
    assert float(LovaszLoss()(logits, labels)) == pytest.approx((of_one + of_zero) / 2)


def _certain(preds: Tensor, num_classes: int) -> Tensor:
    return 1000 * torch.nn.functional.one_hot(preds, num_classes).movedim(-1, 1).double()


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_of_certain_predictions_it_is_the_iou_loss(aggregate: str) -> None:
    logits, labels = _without_some_classes(0)
    preds = logits.argmax(1)
    counts = hard_counts(preds, labels, 4, 255)
    counts = counts.sum(0) if aggregate == "batch" else counts
    expected = iou_loss(counts[in_labels(counts)]).mean()
    assert 0.1 < float(expected) < 0.9
    torch.testing.assert_close(LovaszLoss(aggregate=aggregate)(_certain(preds, 4), labels), expected)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_perfect_prediction_costs_nothing(aggregate: str) -> None:
    _, labels = batch()
    logits = _certain(torch.where(labels == 255, 0, labels), 4)
    assert float(LovaszLoss(aggregate=aggregate)(logits, labels)) == pytest.approx(0, abs=1e-12)


def test_by_sum_the_classes_of_each_image_add_up() -> None:
    logits, labels = _without_some_classes(0)
    for aggregate, num_rows, num_groups in (("image", 8, 3), ("batch", 3, 1)):
        loss_fn = LovaszLoss(aggregate=aggregate)
        mean = loss_fn(logits, labels)
        loss_fn.reduction = "sum"
        torch.testing.assert_close(loss_fn(logits, labels), mean * num_rows / num_groups)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_gradient_steps_make_more_pixels_right(aggregate: str) -> None:
    logits, labels = batch(height=10, width=10)
    leaf = logits.clone().requires_grad_(True)
    accuracies = [_accuracy(logits, labels)]
    for _ in range(3):
        (gradient,) = torch.autograd.grad(LovaszLoss(aggregate=aggregate)(leaf, labels), leaf)
        leaf = (leaf - 100 * gradient).detach().requires_grad_(True)
        accuracies.append(_accuracy(leaf, labels))
    assert accuracies == sorted(set(accuracies))


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels)[labels != 255].double().mean())


def test_an_unknown_aggregate_is_refused() -> None:
    with pytest.raises(ValueError, match="aggregate: 'imge': one of image, batch: choose one"):
        LovaszLoss(aggregate="imge")
