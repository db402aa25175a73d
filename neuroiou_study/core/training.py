"""The one epoch loop and the one evaluation loop."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from neuroiou_study.core.counts import hard_counts, predictions
from neuroiou_study.core.data.loading import Batch
from neuroiou_study.core.reduction import SegmentationLoss

Precision = Literal["float32", "bfloat16"]


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; the message names the step and the images."""


def train_epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    loss_fn: SegmentationLoss,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    schedule: LRScheduler | None = None,
    precision: Precision = "float32",
) -> float:
    """One pass over ``batches``; returns the mean loss of its steps. ``schedule`` is stepped after each.

    ``precision`` is that of the network's operations where autocast knows them; weights and loss stay in float32.
    Raises NonFiniteLossError before a non-finite loss can reach the weights.
    """
    model.train()
    losses = []
    for step, batch in enumerate(batches):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(batch.images.to(device))
        loss = loss_fn(logits, batch.labels.to(device))
        losses.append(_finite(loss, step, batch))
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return sum(losses) / len(losses)


def _finite(loss: Tensor, step: int, batch: Batch) -> float:
    value = float(loss.detach())
    if value != value or abs(value) == float("inf"):
        images = ", ".join(batch.names)
        raise NonFiniteLossError(f"step {step}: loss {value}: must be finite: images {images}: lower the learning rate")
    return value


@torch.no_grad()
def evaluate_counts(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    num_images: int,
    num_classes: int,
    ignore_index: int,
    device: torch.device,
) -> Tensor:
    """``(num_images, C, 3)`` int64 counts of every image of ``batches`` at its index; other images stay 0.

    The counts of several workers, each with its own images, add up to those of the whole split.
    """
    model.eval()
    counts = torch.zeros(num_images, num_classes, 3, dtype=torch.int64)
    for batch in batches:
        preds = predictions(model(batch.images.to(device)))
        counts[batch.indices] = hard_counts(preds, batch.labels.to(device), num_classes, ignore_index).cpu()
    return counts
