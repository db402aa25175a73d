"""TrialSpec: every number that decides one trial's result.

Each default says where it is from: *cited* (the paper), *measured* (``docs/science.md``) or *assumed*.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuroiou_study.spec.base import Spec, broken

Size = Annotated[tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]], Field(strict=False)]
LearningRate = Annotated[float, Field(gt=0, le=10)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
ClassWeights = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(strict=False)]


class ShapesSpec(Spec):
    """The embedded procedural data set; needs no files."""

    name: Literal["shapes"]
    num_train: int = Field(96, ge=8)
    """Training images; *assumed*."""
    num_select: int = Field(48, ge=1)
    """Images the search chooses with; *assumed*."""
    num_val: int = Field(96, ge=1)
    """Images that decide, opened once; *assumed*."""
    size: Size = (48, 64)
    """Height and width in pixels; *assumed*."""
    seed: int = Field(0, ge=0)
    """Another seed draws other images."""


class CamvidSpec(Spec):
    """CamVid in the SegNet layout."""

    name: Literal["camvid"]
    root: str = Field(min_length=1)
    """Folder with train.txt and val.txt."""
    size: Size | None = None
    """Height and width that images are resized to on loading; unset keeps the files' size."""
    select_fraction: Fraction = 0.2
    """Share of train.txt that is held out for the search, so that val decides once; *assumed*."""


DataSpec = Annotated[ShapesSpec | CamvidSpec, Field(discriminator="name")]


class UNetSpec(Spec):
    """U-Net with group normalisation."""

    name: Literal["unet"]
    width: int = Field(16, ge=4, multiple_of=4)
    """Channels of the first level; 64 is the original (*cited*), 16 *assumed* for small machines."""
    levels: int = Field(4, ge=1, le=6)
    """How often the resolution is halved; *cited*."""


class AdamWSpec(Spec):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0)
    """*Assumed*."""


class SGDSpec(Spec):
    """Stochastic gradient descent, as in the paper.

    The losses here are means over pixels or rows; the paper's lr 1e-5 belongs to an unnormalised sum.
    """

    name: Literal["sgd"]
    momentum: float = Field(0.99, ge=0, lt=1)
    """*Cited*."""
    weight_decay: float = Field(5e-4, ge=0)
    """*Cited*."""


OptimizerSpec = Annotated[AdamWSpec | SGDSpec, Field(discriminator="name")]


class CrossEntropySpec(Spec):
    """Cross-entropy, averaged over valid pixels."""

    name: Literal["cross_entropy"]


class WeightedCrossEntropySpec(Spec):
    """Cross-entropy with a weight for each class."""

    name: Literal["weighted_cross_entropy"]
    class_weights: Literal["median_frequency"] | ClassWeights = "median_frequency"
    """``median_frequency`` computes them from the training labels; or a number for each class."""


Aggregate = Literal["image", "batch"]


class SoftIoUSpec(Spec):
    """IoU-Appx of Rahman and Wang (2016), the paper's handcrafted rival."""

    name: Literal["soft_iou"]
    aggregate: Aggregate = "image"
    """One IoU for each image and class, or for each class of the batch; *cited*: image."""


class NeuroIoUSpec(Spec):
    """The loss that the trial's own surrogate learned."""

    name: Literal["neuroiou"]


LossSpec = Annotated[
    CrossEntropySpec | WeightedCrossEntropySpec | SoftIoUSpec | NeuroIoUSpec, Field(discriminator="name")
]
PretrainLossSpec = Annotated[CrossEntropySpec | WeightedCrossEntropySpec, Field(discriminator="name")]


class TrainingSpec(Spec):
    """What pretraining and fine-tuning have in common."""

    epochs: int = Field(ge=1)
    """Passes over the training split."""
    batch_size: int = Field(8, ge=1)
    """Images of a step, over all workers together; *assumed*."""
    lr: LearningRate = 1e-3
    """Learning rate; *assumed*: search it."""
    optimizer: OptimizerSpec = AdamWSpec()
    """What turns gradients into steps; *assumed*."""


class PretrainSpec(TrainingSpec):
    """Cross-entropy training from random weights: the paper's Θ_CE."""

    epochs: int = Field(40, ge=1)
    """Cut it short for a start with dead classes, where losses differ most; *assumed*."""
    loss: PretrainLossSpec = CrossEntropySpec(name="cross_entropy")
    """*Cited*: cross-entropy."""


class CollectPairsSpec(Spec):
    """D: the statistics and IoU losses of Θ_CE's output on the training images."""

    batch_size: int = Field(8, ge=1)
    """Images at a time; changes speed and memory only."""


class FitSurrogateSpec(Spec):
    """The surrogate and how it is fitted to D."""

    inputs: Literal["prob3", "prob6", "hinge3", "hinge6"] = "prob3"
    """Probability sums, sums and means, hinge sums, hinge sums and means."""
    reading: Literal["class", "predicted", "complement"] = "complement"
    """What a missed pixel adds to the FN sum: p_y, p_k or 1 - p_y; *measured*: complement."""
    scale: Literal["raw", "pixels", "union", "self", "log"] = "union"
    """What the sums are divided by; *measured*: union, the constant TP + FP + FN."""
    means_gradient: Literal["detached", "full"] = "detached"
    """``full`` differentiates through the means too, which makes a harmful loss; *measured*."""
    aggregate: Aggregate = "image"
    """A row for each image and class (*cited*), or for each class of the batch."""
    images_per_row: int = Field(4, ge=2)
    """How many images are added up to a row of D where aggregate is batch; *assumed*."""
    depth: int = Field(4, ge=1, le=16)
    """Hidden layers; *cited*."""
    width: int = Field(100, ge=1, le=4096)
    """Units of a hidden layer; *cited*."""
    activation: Literal["softplus", "relu", "tanh", "silu"] = "softplus"
    """*Measured*: softplus has the most right gradient signs."""
    monotone: bool = False
    """Restrict the weights so that every gradient sign is right by construction."""
    lr: LearningRate = 3e-3
    """Adam's learning rate; *measured*."""
    epochs: int = Field(200, ge=1)
    """Passes over D at most; *measured*."""
    batch_size: int = Field(64, ge=1)
    """Rows of a step; *measured*."""
    weight_decay: float = Field(1.0, ge=0)
    """Decoupled. *Measured*: without it the fit is closer and the gradient signs are wrong."""
    patience: int = Field(30, ge=1)
    """Epochs without a better held-out error before the fit stops; *assumed*."""
    held_out_fraction: Fraction = 0.2
    """Share of D's images that only measure; *assumed*."""

    @model_validator(mode="after")
    def _monotone_needs_monotone_activation(self) -> "FitSurrogateSpec":
        if self.monotone and self.activation == "silu":
            rule = "a monotone surrogate needs a monotone activation: use softplus, relu or tanh"
            raise broken(self.activation, rule, ("activation",))
        return self


class FinetuneSpec(TrainingSpec):
    """Training of Θ_CE on with the trial's loss."""

    epochs: int = Field(10, ge=1)
    """*Assumed*."""
    loss: LossSpec = NeuroIoUSpec(name="neuroiou")
    """The loss under study."""


class EvaluateSpec(Spec):
    """The measurement of the fine-tuned network."""

    split: Literal["select", "val"] = "select"
    """Trials are compared on ``select``; a study opens ``val`` once, for the best trial of each arm."""
    batch_size: int = Field(8, ge=1)
    """Images at a time; changes speed and memory only."""


class TrialSpec(Spec):
    """One trial, complete: what to train, on what, with which loss, from which random numbers."""

    data: DataSpec
    """What is trained on, chosen with and decided with."""
    model: UNetSpec = UNetSpec(name="unet")
    seed: int = Field(0, ge=0)
    """Decides weights, order and augmentation. In a study, ``seeds`` takes its place."""
    pretrain: PretrainSpec = PretrainSpec()
    collect_pairs: CollectPairsSpec = CollectPairsSpec()
    fit_surrogate: FitSurrogateSpec = FitSurrogateSpec()
    finetune: FinetuneSpec = FinetuneSpec()
    evaluate: EvaluateSpec = EvaluateSpec()
