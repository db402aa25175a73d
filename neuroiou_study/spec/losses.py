"""The losses that a network can be trained with."""

from typing import Annotated, Literal

from pydantic import Field

from neuroiou_study.spec.base import Spec

ClassWeights = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(strict=False)]
Aggregate = Literal["image", "batch"]
Gains = Literal["step", "path"]


class CrossEntropySpec(Spec):
    """Cross-entropy over valid pixels."""

    name: Literal["cross_entropy"]


class WeightedCrossEntropySpec(Spec):
    """Cross-entropy with a weight for each class."""

    name: Literal["weighted_cross_entropy"]
    class_weights: Literal["median_frequency", "enet"] | ClassWeights = "median_frequency"
    """Computed from the training labels (median_frequency as SegNet's, enet as ENet's); or a number for each class."""


class _IoULossSpec(Spec):
    """What losses made for IoU have in common."""

    cross_entropy_weight: float = Field(0.0, ge=0)
    """So many times cross-entropy is added; 0 is the loss alone."""


class SoftIoUSpec(_IoULossSpec):
    """IoU-Appx of Rahman and Wang (2016), the paper's handcrafted rival."""

    name: Literal["soft_iou"]
    aggregate: Aggregate = "image"
    """One IoU for each image and class, or for each class of the batch; *cited*: image."""


class LovaszSpec(_IoULossSpec):
    """Lovász-softmax (Berman et al. 2018)."""

    name: Literal["lovasz"]
    aggregate: Aggregate = "batch"
    """One Jaccard loss for each image and class, or for each class of a worker's part of the batch; *cited*: batch."""


class ClosedFormSpec(_IoULossSpec):
    """(FP + FN) / (TP + FP + FN) of the sums that a surrogate sees: what learning has to beat."""

    name: Literal["closed_form"]
    aggregate: Aggregate = "image"
    """One ratio for each image and class, or for each class of the batch."""


class FlipSpec(_IoULossSpec):
    """The IoU loss with the true gain of moving one pixel as its gradient, not learned."""

    name: Literal["flip"]
    aggregate: Aggregate = "batch"
    """Counts of each image and class, or of each class of the batch; *measured*: batch."""
    sums: Literal["probability", "hinge", "log"] = "probability"
    """What a pixel adds to its sets: its probability, or its hinge or log loss, as the surrogate's inputs do."""
    gains: Gains = "step"
    """What a pixel is worth: moved now, or on average over the way to a prediction without errors."""


class NeuroIoUSpec(_IoULossSpec):
    """The loss that the trial's own surrogate learned."""

    name: Literal["neuroiou"]


LossSpec = Annotated[
    CrossEntropySpec | WeightedCrossEntropySpec | SoftIoUSpec | LovaszSpec | ClosedFormSpec | FlipSpec | NeuroIoUSpec,
    Field(discriminator="name"),
]
PretrainLossSpec = Annotated[CrossEntropySpec | WeightedCrossEntropySpec, Field(discriminator="name")]
