"""How a loss adds up over pixels, images and workers.

A :class:`SegmentationLoss` is a ratio of totals. Each total is added over all workers *before* the division, so a
global batch has the same loss and the same gradient on one process as on eight. The default adds nothing (one
process); a distributed trainer sets :attr:`SegmentationLoss.sum_over_workers` to a differentiable all-reduce.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from neuroiou_study.core.kernels.choice import KernelName

Reduction = Literal["mean", "sum"]


def _this_worker_only(total: Tensor) -> Tensor:
    return total


class SegmentationLoss(nn.Module, ABC):
    """A scalar loss of ``logits`` ``(B, C, H, W)`` and ``labels`` ``(B, H, W)`` int64 that ignores ``ignore_index``.

    A batch without one valid pixel has loss 0 and gradient 0, never NaN. ``reduction="sum"`` adds the pixels (rows) of
    an image up instead of averaging them, and averages over images: a learning rate belongs to one of the two.
    """

    reduction: Reduction = "mean"
    kernel: KernelName = "auto"
    """How statistics of probabilities are computed, if the loss has any (:mod:`neuroiou_study.core.kernels`)."""

    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.sum_over_workers: Callable[[Tensor], Tensor] = _this_worker_only

    @abstractmethod
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar in the precision of the logits, at least float32."""

    def reduced(self, total: Tensor, weight: Tensor, num_images: int) -> Tensor:
        """``total`` by ``weight``, or by images to reduce by sum, each added over the workers; 0 by a weight of 0."""
        divisor = weight.to(total.dtype) if self.reduction == "mean" else total.new_tensor(num_images)
        return self.sum_over_workers(total) / self.sum_over_workers(divisor).clamp(min=1e-12)


class RowLoss(SegmentationLoss):
    """A loss that is the mean of a row loss over the (image, class) pairs present in the labels.

    ``aggregate="image"`` makes a row for each class of each image, as the paper does; ``"batch"`` adds the images
    (of all workers) first and makes a row for each class.
    """

    def __init__(self, ignore_index: int = 255, aggregate: str = "image") -> None:
        super().__init__(ignore_index)
        if aggregate not in ("image", "batch"):
            raise ValueError(f"aggregate: {aggregate!r}: one of image, batch: choose one")
        self.aggregate = aggregate

    @abstractmethod
    def row_losses(self, counts: Tensor, sums: Tensor, num_pixels: Tensor, class_index: Tensor) -> Tensor:
        """``(M,)`` losses of M rows: ``counts`` and ``sums`` ``(M, 3)``, valid pixels and class ``(M,)``."""

    def mean_over_rows(self, counts: Tensor, sums: Tensor) -> Tensor:
        """The mean row loss of statistics ``(B, C, 3)``."""
        if self.aggregate == "batch":
            return self._mean_of_batch(counts, sums)
        total, num_rows = self._total(counts, sums)
        return self.reduced(total, num_rows, len(counts))

    def _mean_of_batch(self, counts: Tensor, sums: Tensor) -> Tensor:
        counts = self.sum_over_workers(counts.sum(0, keepdim=True))
        total, num_rows = self._total(counts, self.sum_over_workers(sums.sum(0, keepdim=True)))
        return total / num_rows.clamp(min=1) if self.reduction == "mean" else total

    def _total(self, counts: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        # All rows, and those of absent classes covered: to pick the others would make a GPU wait for their number.
        present = in_labels(counts)
        num_pixels = valid_pixels(counts).unsqueeze(-1).expand(present.shape)
        class_index = torch.arange(present.shape[-1], device=present.device).expand(present.shape)
        is_there = present.unsqueeze(-1)
        counts, sums = torch.where(is_there, counts, 1), torch.where(is_there, sums, 1.0)
        rows = self.row_losses(counts.flatten(0, -2), sums.flatten(0, -2), num_pixels.flatten(), class_index.flatten())
        return torch.where(present.flatten(), rows, 0).sum(), present.sum()


def in_labels(counts: Tensor) -> Tensor:
    """``(..., C)`` bool: is the class in the labels? Rows with FP only have IoU loss 1 and teach nothing."""
    return counts[..., 0] + counts[..., 2] > 0


def valid_pixels(counts: Tensor) -> Tensor:
    """``(...)`` number of valid pixels of ``counts`` ``(..., C, 3)``: each is a TP or an FN of its label's class."""
    return (counts[..., 0] + counts[..., 2]).sum(dim=-1)
