"""NeuroIoU as a plain PyTorch library: counts, losses, surrogates and what makes them good losses.

Nothing here knows of YAML, Ray, Optuna or MLflow::

    from neuroiou_study.core import NeuroIoULoss

    loss_fn = NeuroIoULoss.load("exported/")
"""

from neuroiou_study.core.counts import hard_counts, hinge_statistics, log_statistics, probability_statistics
from neuroiou_study.core.features import Inputs
from neuroiou_study.core.fidelity import fidelity
from neuroiou_study.core.fitting import Fit, FitSettings, Rows, fit_surrogate, make_rows
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
from neuroiou_study.core.metrics import iou, iou_loss, mean_iou, pixel_accuracy
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.surrogate import Surrogate, SurrogateConfig

__all__ = [
    "ClosedFormLoss",
    "CrossEntropyLoss",
    "Fit",
    "FitSettings",
    "FlipLoss",
    "Inputs",
    "LovaszLoss",
    "MixedLoss",
    "NeuroIoULoss",
    "Rows",
    "SoftIoULoss",
    "Surrogate",
    "SurrogateConfig",
    "enet_weights",
    "fidelity",
    "fit_surrogate",
    "hard_counts",
    "hinge_statistics",
    "iou",
    "iou_loss",
    "log_statistics",
    "make_rows",
    "mean_iou",
    "median_frequency_weights",
    "pixel_accuracy",
    "probability_statistics",
]
