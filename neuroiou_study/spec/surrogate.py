"""The surrogate: its data D, its form, its fit, and what it must show before a network is trained with it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from neuroiou_study.spec.base import Spec, broken
from neuroiou_study.spec.data import Fraction
from neuroiou_study.spec.losses import Aggregate, Gains
from neuroiou_study.spec.training import LearningRate


class CollectPairsSpec(Spec):
    """D: the statistics and IoU losses of Θ_CE's output on the training images."""

    batch_size: int = Field(8, ge=1)
    """Images at a time; changes speed and memory only."""
    snapshots: int = Field(0, ge=0, le=16)
    """So many of ``pretrain.snapshots``, the latest, add their outputs to D."""
    perturbed: int = Field(0, ge=0, le=16)
    """So many copies of each output, with random errors, are added to D."""
    perturbation: float = Field(2.0, gt=0)
    """Standard deviation of what a perturbed copy adds to the logits of each class in an image; *assumed*."""


class FitSurrogateSpec(Spec):
    """The surrogate and how it is fitted to D."""

    inputs: Literal["prob3", "prob6", "hinge3", "hinge6", "log3", "log6"] = "prob3"
    """Sums of probabilities, hinges or log losses over TP, FP and FN pixels; those with 6 have the means too."""
    reading: Literal["class", "predicted", "complement"] = "complement"
    """What a missed pixel adds to the FN sum: p_y, p_k or 1 - p_y; *measured*: complement."""
    hinge: Literal["crammer_singer", "one_vs_rest"] = "crammer_singer"
    """Which hinge the hinge inputs sum: against the strongest rival, or of the row's class against 0."""
    scale: Literal["raw", "pixels", "union", "self", "log"] = "union"
    """What the sums are divided by; *measured*: union, the constant TP + FP + FN."""
    means_gradient: Literal["detached", "full"] = "detached"
    """``full`` differentiates through the means too, which makes a harmful loss; *measured*."""
    class_one_hot: bool = False
    """Tell the surrogate which class a row is of."""
    context: bool = False
    """Tell it the class and the mean confidences of the three sets, as constants.

    Has no effect where nothing is learned of gains: the value would leak through it, and the gradient vanish.
    """
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
    flip_gain_weight: float = Field(0.0, ge=0)
    """Weight in the fit of the gradient's error against the true gain of moving one pixel; 0 is the paper, 1 suggested.

    For hinges and log losses the gain is that of one unit of a pixel's loss.
    """
    gains: Gains = "step"
    """Which gain: of moving one pixel now, or on average over the way to a prediction without errors."""
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
    def _activation_fits(self) -> "FitSurrogateSpec":
        if self.monotone and self.activation == "silu":
            rule = "a monotone surrogate needs a monotone activation: use softplus, relu or tanh"
            raise broken(self.activation, rule, ("activation",))
        return self

    @property
    def has_context(self) -> bool:
        """``context`` where it has an effect."""
        return self.context and self.flip_gain_weight > 0


class GateSpec(Spec):
    """What a surrogate must reach on images it was not fitted on; one that does not costs no fine-tuning."""

    enabled: bool = True
    """``false`` lets every surrogate through."""
    min_sign: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Least share of rows whose derivative has the sign that helps, for TP, FP and FN alike; *measured*."""
    min_r2: float = Field(0.97, le=1)
    """Least R² of the value, where flip_gain_weight is 0; *measured*."""
    max_gain_error: float = Field(0.2, gt=0)
    """Largest error of the gradient relative to the flip gains (RMS), where flip_gain_weight is not 0.

    *Measured*: .006 to .05 with flip_gain_weight of 0.1 and more, .76 to .89 without.
    """
