"""What every loss promises, whichever it is."""

import pytest
import torch
from torch import Tensor

from neuroiou_study.core.counts import hard_counts
from neuroiou_study.core.metrics import iou_loss
from neuroiou_study.core.reduction import Reduction, in_labels
from tests.core.examples import batch, every_loss

REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", [name for name in every_loss() if not name.startswith("flip")])
def test_gradient_is_right(name: str, reduction: Reduction) -> None:
    # A flip loss is flat, and its gradient another: see below.
    logits, labels = batch(height=3, width=3)
    loss_fn = every_loss()[name]
    loss_fn.reduction = reduction
    assert torch.autograd.gradcheck(lambda z: loss_fn(z, labels), logits.requires_grad_(True))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", every_loss())
def test_an_all_void_batch_has_loss_0_and_gradient_0(name: str, reduction: Reduction) -> None:
    logits, labels = batch()
    logits.requires_grad_(True)
    loss_fn = every_loss()[name]
    loss_fn.reduction = reduction
    loss = loss_fn(logits, torch.full_like(labels, 255))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("name", every_loss())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_do_not_overflow(name: str, dtype: torch.dtype) -> None:
    # 80 000 pixels: the sum and the number of pixels are both beyond float16.
    logits, labels = batch(height=200, width=200)
    loss_fn = every_loss()[name]
    loss = loss_fn(logits.to(dtype), labels)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(loss_fn(logits, labels)), rel=2e-3)


@pytest.mark.parametrize("name", every_loss())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loss_is_a_finite_scalar_in_the_precision_of_the_logits(name: str, dtype: torch.dtype) -> None:
    logits, labels = batch(images=3)
    labels[0] = 255
    labels[labels == 3] = 0
    loss = every_loss()[name](logits.to(dtype), labels)
    assert (loss.shape, loss.dtype) == ((), dtype)
    assert bool(loss.isfinite())


@pytest.mark.parametrize("name", every_loss())
def test_void_pixels_have_no_say(name: str) -> None:
    logits, labels = batch()
    changed = logits + 5 * torch.randn_like(logits) * (labels == 255).unsqueeze(1)
    assert not torch.equal(changed, logits)
    loss_fn = every_loss()[name]
    torch.testing.assert_close(loss_fn(changed, labels), loss_fn(logits, labels))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", every_loss())
def test_gradient_steps_lower_the_loss_and_the_true_iou_loss(name: str, reduction: Reduction) -> None:
    logits, labels = batch(height=10, width=10)
    loss_fn = every_loss()[name]
    loss_fn.reduction = reduction
    leaf = logits.clone().requires_grad_(True)
    for _ in range(5):
        (gradient,) = torch.autograd.grad(loss_fn(leaf, labels), leaf)
        leaf = (leaf - gradient / gradient.abs().max()).detach().requires_grad_(True)
    assert float(loss_fn(leaf, labels).detach()) < float(loss_fn(logits, labels))
    assert _true_iou_loss(leaf, labels) < _true_iou_loss(logits, labels)


def _true_iou_loss(logits: Tensor, labels: Tensor) -> float:
    counts = hard_counts(logits.argmax(1), labels, 4, 255)
    return float(iou_loss(counts[in_labels(counts)]).mean())
