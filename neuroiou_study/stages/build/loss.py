"""Losses."""

from pathlib import Path
from typing import assert_never

import torch
from torch import Tensor

from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.features import Inputs
from neuroiou_study.core.losses import (
    ClosedFormLoss,
    CrossEntropyLoss,
    FlipLoss,
    MixedLoss,
    SoftIoULoss,
    enet_weights,
    median_frequency_weights,
)
from neuroiou_study.core.lovasz import LovaszLoss
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.reduction import SegmentationLoss
from neuroiou_study.spec.losses import (
    ClosedFormSpec,
    CrossEntropySpec,
    FlipSpec,
    LossSpec,
    LovaszSpec,
    NeuroIoUSpec,
    SoftIoUSpec,
    WeightedCrossEntropySpec,
)

_FLIP_INPUTS = {"probability": Inputs("prob3"), "hinge": Inputs("hinge3"), "log": Inputs("log3")}


def loss(spec: LossSpec, training: SegmentationDataset, surrogate: Path | None = None) -> SegmentationLoss:
    """A loss for the classes, the void value and the class frequencies of ``training``.

    ``surrogate`` is the folder of the learned loss. Raises ValueError if weights do not fit the classes.
    """
    void = training.ignore_index
    match spec:
        case CrossEntropySpec():
            return CrossEntropyLoss(void)
        case WeightedCrossEntropySpec():
            return CrossEntropyLoss(void, _class_weights(spec, training))
        case SoftIoUSpec():
            return _mixed(SoftIoULoss(void, spec.aggregate), spec.cross_entropy_weight)
        case LovaszSpec():
            return _mixed(LovaszLoss(void, spec.aggregate), spec.cross_entropy_weight)
        case ClosedFormSpec():
            return _mixed(ClosedFormLoss(void, spec.aggregate), spec.cross_entropy_weight)
        case FlipSpec():
            return _mixed(
                FlipLoss(void, spec.aggregate, _FLIP_INPUTS[spec.sums], spec.gains), spec.cross_entropy_weight
            )
        case NeuroIoUSpec():
            assert surrogate is not None, "a learned loss has a surrogate"
            return _mixed(NeuroIoULoss.load(surrogate), spec.cross_entropy_weight)
        case _:
            assert_never(spec)


def _mixed(iou_loss: SegmentationLoss, cross_entropy_weight: float) -> SegmentationLoss:
    """``iou_loss`` itself where nothing is added to it."""
    if cross_entropy_weight == 0:
        return iou_loss
    return MixedLoss({iou_loss: 1.0, CrossEntropyLoss(iou_loss.ignore_index): cross_entropy_weight})


def _class_weights(spec: WeightedCrossEntropySpec, training: SegmentationDataset) -> Tensor:
    if spec.class_weights == "median_frequency":
        return median_frequency_weights(training.pixels_per_class())
    if spec.class_weights == "enet":
        return enet_weights(training.pixels_per_class())
    if len(spec.class_weights) != training.num_classes:
        raise ValueError(
            f"class_weights: {len(spec.class_weights)} numbers: one for each of {training.num_classes} classes "
            f"({', '.join(training.class_names)}): complete the list"
        )
    return torch.tensor(spec.class_weights)
