"""The one epoch loop and the one evaluation loop."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from neuroiou_study.core.counts import hard_counts, predictions
from neuroiou_study.core.data.loading import Batch
from neuroiou_study.core.micro_batches import joint_logits, pull
from neuroiou_study.core.reduction import SegmentationLoss

Precision = Literal["float32", "bfloat16"]


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; the message names the step and the images."""


def _go_on() -> None:
    pass


def train_epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    loss_fn: SegmentationLoss,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    schedule: LRScheduler | None = None,
    precision: Precision = "float32",
    *,
    micro_batches: int = 1,
    losses: list[float] | None = None,
    after_step: Callable[[], None] = _go_on,
) -> float:
    """One pass over ``batches``; returns the mean loss of its steps. ``schedule`` is stepped after each.

    ``precision`` is that of the network's operations where autocast knows them; weights and loss stay in float32.
    ``micro_batches`` > 1 takes a batch through the network in so many parts, which needs less memory and more time:
    loss and gradient stay the whole batch's (:mod:`neuroiou_study.core.micro_batches`).
    The loss of every step is appended to ``losses``, which hold those of earlier ones where an epoch is continued;
    then ``after_step`` is called, which may raise to leave the epoch there.
    Raises NonFiniteLossError before a non-finite loss can reach the weights, and torch.OutOfMemoryError, after which
    weights may be those of half a step.
    """
    model.train()
    objective = _Objective(model, loss_fn, device, precision, micro_batches)
    losses = [] if losses is None else losses
    for step, batch in enumerate(batches, start=len(losses)):
        loss = _step(objective, batch, step, optimizer)
        if schedule is not None:
            schedule.step()
        losses.append(loss)
        after_step()
    return sum(losses) / len(losses)


@dataclass(frozen=True)
class _Objective:
    """What is descended."""

    model: nn.Module
    loss_fn: SegmentationLoss
    device: torch.device
    precision: Precision
    micro_batches: int

    def gradient(self, batch: Batch, step: int) -> float:
        """The loss of ``batch``; its gradient is added to that of the parameters."""
        images = batch.images.to(self.device)
        parts = self.split(images)
        # Not by the number of parts: workers with one have to exchange what the others do, in the same order.
        in_parts = self.micro_batches > 1
        logits = joint_logits(self.logits, self.model, parts) if in_parts else self.logits(self.model, images)
        loss = self.loss_fn(logits, batch.labels.to(self.device))
        value = _finite(loss, step, batch)
        loss.backward()
        if in_parts:
            pull(self.logits, self.model, parts, logits)
        return value

    def split(self, images: Tensor) -> tuple[Tensor, ...]:
        """``images`` in ``micro_batches`` parts, of which none is empty."""
        return images.tensor_split(min(self.micro_batches, len(images)))

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """What ``model`` makes of ``images`` in the wanted precision."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits: Tensor = model(images)
        return logits


def _step(objective: _Objective, batch: Batch, step: int, optimizer: torch.optim.Optimizer) -> float:
    """The loss before one step of ``optimizer``."""
    optimizer.zero_grad(set_to_none=True)
    try:
        loss = objective.gradient(batch, step)
        optimizer.step()
        return loss
    except torch.OutOfMemoryError as error:
        reason = str(error)
    # Out here, so that the error does not keep alive what has filled the memory.
    what = f"step {step}: {len(objective.split(batch.images)[0])} images at a time"
    rule = f"must fit into the memory of {objective.device}"
    raise torch.OutOfMemoryError(f"{what}: {rule}: more micro_batches, or a smaller batch_size: {reason}")


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
