"""How a network is trained: pretraining and fine-tuning."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuroiou_study.spec.base import Spec, broken
from neuroiou_study.spec.losses import CrossEntropySpec, LossSpec, NeuroIoUSpec, PretrainLossSpec

LearningRate = Annotated[float, Field(gt=0, le=10)]


class AdamWSpec(Spec):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0)
    """*Assumed*."""


class AdamSpec(Spec):
    """Adam with weight decay as a part of the gradient."""

    name: Literal["adam"]
    weight_decay: float = Field(0.0, ge=0)
    """*Assumed*."""


class SGDSpec(Spec):
    """Stochastic gradient descent, as in the paper."""

    name: Literal["sgd"]
    momentum: float = Field(0.99, ge=0, lt=1)
    """*Cited*."""
    weight_decay: float = Field(5e-4, ge=0)
    """*Cited*."""


OptimizerSpec = Annotated[AdamWSpec | AdamSpec | SGDSpec, Field(discriminator="name")]


class ConstantSpec(Spec):
    """The learning rate stays."""

    name: Literal["constant"] = "constant"


class PolySpec(Spec):
    """The learning rate falls as (1 - step / steps) ** power."""

    name: Literal["poly"]
    power: float = Field(0.9, gt=0)
    """*Cited*: DeepLab."""


class CosineSpec(Spec):
    """The learning rate falls along half a cosine to 0."""

    name: Literal["cosine"]


ScheduleSpec = Annotated[ConstantSpec | PolySpec | CosineSpec, Field(discriminator="name")]


class TrainingSpec(Spec):
    """What pretraining and fine-tuning have in common."""

    epochs: int = Field(ge=1)
    """Passes over the training split."""
    batch_size: int = Field(8, ge=1)
    """Images of a step, over all workers together; *assumed*."""
    lr: LearningRate = 1e-3
    """Learning rate; *assumed*: search it."""
    reduction: Literal["mean", "sum"] = "mean"
    """What the learning rate belongs to: the loss's mean over pixels (classes), or their sum, averaged over images.

    FCN's published rates of 1e-10 belong to ``sum``; over 375 × 500 pixels that is the paper's 1e-5 with ``mean``.
    """
    precision: Literal["float32", "bfloat16"] = "float32"
    """``bfloat16`` runs the network, not the loss, in half precision (autocast): another result, faster on a GPU."""
    optimizer: OptimizerSpec = AdamWSpec()
    """What turns gradients into steps; *assumed*."""
    schedule: ScheduleSpec = ConstantSpec()
    """How the learning rate changes from step to step; *cited*: constant."""


class PretrainSpec(TrainingSpec):
    """Cross-entropy training from random weights: the paper's Θ_CE."""

    epochs: int = Field(40, ge=1)
    """Cut it short for a start with dead classes, where losses differ most; *assumed*."""
    loss: PretrainLossSpec = CrossEntropySpec(name="cross_entropy")
    """*Cited*: cross-entropy."""
    snapshots: int = Field(0, ge=0, le=16)
    """Networks to keep along the way, evenly spaced, for ``collect_pairs.snapshots``."""

    @model_validator(mode="after")
    def _snapshots_fit(self) -> "PretrainSpec":
        if self.snapshots >= self.epochs:
            rule = f"must be fewer than the {self.epochs} epochs: lower it or train longer"
            raise broken(self.snapshots, rule, ("snapshots",))
        return self


class FinetuneSpec(TrainingSpec):
    """Training of Θ_CE on with the trial's loss."""

    epochs: int = Field(10, ge=1)
    """*Assumed*."""
    loss: LossSpec = NeuroIoUSpec(name="neuroiou")
    """The loss under study."""
    start: Literal["pretrained", "random"] = "pretrained"
    """``random`` begins where pretraining began, with random or VGG-16's weights: the paper's No-Int."""
