"""Surrogates."""

from neuroiou_study.core.features import Inputs
from neuroiou_study.core.fitting import FitSettings
from neuroiou_study.core.surrogate import SurrogateConfig
from neuroiou_study.spec.surrogate import FitSurrogateSpec


def surrogate_config(spec: FitSurrogateSpec, num_classes: int) -> SurrogateConfig:
    """The shape of a surrogate and what it sees."""
    inputs = Inputs(
        name=spec.inputs,
        reading=spec.reading,
        scale=spec.scale,
        means_gradient=spec.means_gradient,
        hinge=spec.hinge,
        class_one_hot=num_classes if spec.class_one_hot or spec.has_context else 0,
        context=spec.has_context,
    )
    return SurrogateConfig(inputs, spec.depth, spec.width, spec.activation, spec.monotone)


def fit_settings(spec: FitSurrogateSpec, seed: int) -> FitSettings:
    """How a surrogate is fitted."""
    return FitSettings(
        lr=spec.lr,
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        weight_decay=spec.weight_decay,
        flip_gain_weight=spec.flip_gain_weight,
        gains=spec.gains,
        patience=spec.patience,
        held_out_fraction=spec.held_out_fraction,
        seed=seed,
    )
