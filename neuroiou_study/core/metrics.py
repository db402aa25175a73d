"""IoU, mean IoU, accuracy and the IoU loss, from counts.

Add counts up first, take the ratio last: the IoU of a data set is not the mean of its images' IoUs. A class that is
neither in the labels nor in the predictions has no IoU (NaN) and is left out of the mean.
"""

import torch
from torch import Tensor

from neuroiou_study.core.counts import FN, TP


def iou(counts: Tensor) -> Tensor:
    """``(..., C)`` float64 IoU |TP| / (|TP| + |FP| + |FN|) of ``counts`` ``(..., C, 3)``; NaN where it has no pixel."""
    counts = counts.double()
    return counts[..., TP] / counts.sum(dim=-1)


def iou_loss(counts: Tensor) -> Tensor:
    """``(...)`` float64 IoU loss 1 - IoU (paper eq. 1) of ``counts`` ``(..., 3)``; the union must not be empty."""
    counts = counts.double()
    return (counts.sum(dim=-1) - counts[..., TP]) / counts.sum(dim=-1)


def mean_iou(counts: Tensor, *, without: int | None = None) -> float:
    """Mean of the classes' IoU over data set ``counts`` ``(C, 3)``; ``without`` leaves one class (background) out.

    NaN if no class has an IoU.
    """
    per_class = iou(counts)
    if without is not None:
        per_class = torch.cat([per_class[:without], per_class[without + 1 :]])
    return float(per_class.nanmean())


def pixel_accuracy(counts: Tensor) -> float:
    """Fraction of valid pixels that are right, from data set ``counts`` ``(C, 3)``; NaN if there are none."""
    counts = counts.double()
    return float(counts[:, TP].sum() / (counts[:, TP] + counts[:, FN]).sum())
