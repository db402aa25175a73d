"""From a spec to the object it describes: the only place that matches on names."""

from typing import assert_never

import torch
from torch import nn

from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.data.dataset import SegmentationDataset, Split
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.core.features import Inputs
from neuroiou_study.core.fitting import FitSettings
from neuroiou_study.core.losses import CrossEntropyLoss, SoftIoULoss, median_frequency_weights
from neuroiou_study.core.models.unet import UNet
from neuroiou_study.core.reduction import SegmentationLoss
from neuroiou_study.core.surrogate import SurrogateConfig
from neuroiou_study.spec.trial import (
    AdamWSpec,
    CamvidSpec,
    CrossEntropySpec,
    DataSpec,
    FitSurrogateSpec,
    OptimizerSpec,
    SGDSpec,
    ShapesSpec,
    SoftIoUSpec,
    UNetSpec,
    WeightedCrossEntropySpec,
)

UnlearnedLossSpec = CrossEntropySpec | WeightedCrossEntropySpec | SoftIoUSpec


def dataset(spec: DataSpec, split: Split) -> SegmentationDataset:
    """The split of a data set. Raises FileNotFoundError or ValueError if its files are not as they must be."""
    match spec:
        case ShapesSpec():
            num_images = {"train": spec.num_train, "select": spec.num_select, "val": spec.num_val}[split]
            return ShapesDataset(split, num_images, *spec.size, seed=spec.seed)
        case CamvidSpec():
            return CamvidDataset(spec.root, split, size=spec.size, select_fraction=spec.select_fraction)
        case _:
            assert_never(spec)


def model(spec: UNetSpec, num_classes: int, seed: int) -> nn.Module:
    """A network with random weights that depend on ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(num_classes, width=spec.width, levels=spec.levels)


def loss(spec: UnlearnedLossSpec, training: SegmentationDataset) -> SegmentationLoss:
    """A loss that is written down; ``training`` gives its classes, its void value and its class frequencies."""
    match spec:
        case CrossEntropySpec():
            return CrossEntropyLoss(training.ignore_index)
        case WeightedCrossEntropySpec():
            return CrossEntropyLoss(training.ignore_index, _class_weights(spec, training))
        case SoftIoUSpec():
            return SoftIoULoss(training.ignore_index, spec.aggregate)
        case _:
            assert_never(spec)


def _class_weights(spec: WeightedCrossEntropySpec, training: SegmentationDataset) -> torch.Tensor:
    if spec.class_weights == "median_frequency":
        return median_frequency_weights(training.pixels_per_class())
    if len(spec.class_weights) != training.num_classes:
        raise ValueError(
            f"class_weights: {len(spec.class_weights)} numbers: one for each of {training.num_classes} classes "
            f"({', '.join(training.class_names)}): complete the list"
        )
    return torch.tensor(spec.class_weights)


def optimizer(spec: OptimizerSpec, network: nn.Module, lr: float) -> torch.optim.Optimizer:
    """The optimiser of all of ``network``'s parameters."""
    match spec:
        case AdamWSpec():
            return torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=spec.weight_decay)
        case SGDSpec():
            return torch.optim.SGD(network.parameters(), lr=lr, momentum=spec.momentum, weight_decay=spec.weight_decay)
        case _:
            assert_never(spec)


def surrogate_config(spec: FitSurrogateSpec) -> SurrogateConfig:
    """The shape of a surrogate and what it sees."""
    inputs = Inputs(spec.inputs, spec.reading, spec.scale, spec.means_gradient)
    return SurrogateConfig(inputs, spec.depth, spec.width, spec.activation, spec.monotone)


def fit_settings(spec: FitSurrogateSpec, seed: int) -> FitSettings:
    """How a surrogate is fitted."""
    return FitSettings(
        lr=spec.lr,
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        weight_decay=spec.weight_decay,
        patience=spec.patience,
        held_out_fraction=spec.held_out_fraction,
        seed=seed,
    )
