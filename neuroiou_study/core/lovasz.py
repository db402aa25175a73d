"""Lovász-softmax (Berman, Triki and Blaschko, CVPR 2018), written from the paper."""

import torch
from torch import Tensor

from neuroiou_study.core.counts import at_least_float32
from neuroiou_study.core.reduction import SegmentationLoss


class LovaszLoss(SegmentationLoss):
    """The Lovász extension of each class's Jaccard loss, averaged over the classes present in the labels.

    ``aggregate="batch"`` (the paper's choice for mIoU over a data set) takes the pixels of a batch together, ``image``
    each image by itself. Of several workers each takes its own part of the batch: pixels would have to be sorted over
    all of them.
    """

    def __init__(self, ignore_index: int = 255, aggregate: str = "batch") -> None:
        super().__init__(ignore_index)
        if aggregate not in ("image", "batch"):
            raise ValueError(f"aggregate: {aggregate!r}: one of image, batch: choose one")
        self.aggregate = aggregate

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        probs = at_least_float32(logits).softmax(dim=1)
        images = zip(probs.split(1), labels.split(1), strict=True)
        groups = [(probs, labels)] if self.aggregate == "batch" else list(images)
        losses = [loss for group in groups for loss in self._present_classes(*group)]
        # An attached 0, so that an all-void batch has a gradient.
        total = torch.stack([probs.sum() * 0, *losses]).sum()
        return self.reduced(total, total.new_tensor(len(losses)), len(groups))

    def _present_classes(self, probs: Tensor, labels: Tensor) -> list[Tensor]:
        valid = labels != self.ignore_index
        flat_probs, flat_labels = probs.permute(0, 2, 3, 1)[valid], labels[valid]
        return [_jaccard(flat_probs[:, c], flat_labels == c) for c in flat_labels.unique().tolist()]


def _jaccard(probs: Tensor, is_class: Tensor) -> Tensor:
    """The Lovász extension of the Jaccard loss of one class at its pixels' errors (eq. 9): ``probs``, bool ``(P,)``."""
    errors = (is_class.to(probs.dtype) - probs).abs()
    errors, order = errors.sort(descending=True)
    return errors @ _extension(is_class[order]).to(errors.dtype)


def _extension(is_class: Tensor) -> Tensor:
    """``(P,)`` gradient of the extension (eq. 8): what the Jaccard loss grows by with each pixel, worst first."""
    is_class = is_class.double()
    size = is_class.sum()
    intersection = size - is_class.cumsum(0)
    union = size + (1 - is_class).cumsum(0)
    jaccard_loss = 1 - intersection / union
    return jaccard_loss.diff(prepend=jaccard_loss.new_zeros(1))
