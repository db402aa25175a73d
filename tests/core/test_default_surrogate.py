"""The library's default promises to be a good loss: right gradient signs and a close fit, on D of real networks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from neuroiou_study.core.counts import SETS
from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.data.loading import Shard, evaluation_batches, training_batches
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.core.features import Inputs
from neuroiou_study.core.fidelity import fidelity
from neuroiou_study.core.fitting import FitSettings, Rows, fit_surrogate, make_rows
from neuroiou_study.core.losses import CrossEntropyLoss
from neuroiou_study.core.models.unet import UNet
from neuroiou_study.core.surrogate import SurrogateConfig
from neuroiou_study.core.training import train_epoch

CPU = torch.device("cpu")


class _Outputs:
    """What a network trained by cross-entropy says about its own training images."""

    def __init__(self, dataset: SegmentationDataset, batch_size: int, epochs: int) -> None:
        self.ignore_index = dataset.ignore_index
        torch.manual_seed(0)
        network = UNet(dataset.num_classes, width=8, levels=3)
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
        for epoch in range(epochs):
            batches = training_batches(dataset, batch_size, seed=0, epoch=epoch, shard=Shard())
            train_epoch(network, batches, CrossEntropyLoss(dataset.ignore_index), optimizer, CPU)
        with torch.no_grad():
            batches = evaluation_batches(dataset, batch_size, shard=Shard())
            self.batches = [(network.eval()(batch.images), batch.labels) for batch in batches]

    def rows(self, inputs: Inputs) -> Rows:
        counts, sums = zip(*self._statistics(inputs), strict=True)
        return make_rows(torch.cat(counts), torch.cat(sums), generator=torch.Generator())

    def _statistics(self, inputs: Inputs) -> Iterator[tuple[Tensor, Tensor]]:
        for logits, labels in self.batches:
            yield inputs.statistics(logits, labels, self.ignore_index)


@pytest.fixture(scope="module")
def shapes() -> _Outputs:
    return _Outputs(ShapesDataset("train", 96, 48, 64), batch_size=8, epochs=12)


@pytest.fixture(scope="module")
def streets(camvid_small: Path) -> _Outputs:
    return _Outputs(CamvidDataset(camvid_small, "train", size=(60, 80)), batch_size=4, epochs=20)


def _fidelity(outputs: _Outputs, config: SurrogateConfig, seed: int = 0) -> dict[str, float]:
    fit = fit_surrogate(outputs.rows(config.inputs), config, FitSettings(seed=seed))
    return fidelity(fit.surrogate, fit.held_out)


def _least_sign(report: dict[str, float]) -> float:
    return min(report[f"sign_{name}"] for name in SETS)


def _assert_good_loss(report: dict[str, float]) -> None:
    assert _least_sign(report) >= 0.95
    assert report["r2"] >= 0.97


@pytest.mark.parametrize("seed", range(3))
def test_the_default_is_a_good_loss_on_shapes(shapes: _Outputs, seed: int) -> None:
    _assert_good_loss(_fidelity(shapes, SurrogateConfig(), seed))


@pytest.mark.parametrize("seed", range(3))
def test_the_default_is_a_good_loss_on_camvid(streets: _Outputs, seed: int) -> None:
    _assert_good_loss(_fidelity(streets, SurrogateConfig(), seed))


@pytest.mark.parametrize(("depth", "width"), [(1, 100), (6, 100), (4, 16), (4, 256)])
def test_other_shapes_of_the_surrogate_are_good_losses_too(shapes: _Outputs, depth: int, width: int) -> None:
    _assert_good_loss(_fidelity(shapes, SurrogateConfig(depth=depth, width=width)))


def test_six_inputs_with_detached_means_are_a_good_loss(shapes: _Outputs) -> None:
    _assert_good_loss(_fidelity(shapes, SurrogateConfig(Inputs("prob6"))))


@pytest.mark.parametrize("seed", range(2))
def test_six_inputs_with_the_full_gradient_fit_as_well_and_are_a_bad_loss(shapes: _Outputs, seed: int) -> None:
    report = _fidelity(shapes, SurrogateConfig(Inputs("prob6", means_gradient="full")), seed)
    assert report["r2"] >= 0.97
    assert _least_sign(report) < 0.9


def test_the_reading_class_is_a_bad_loss_at_missed_pixels(shapes: _Outputs) -> None:
    report = _fidelity(shapes, SurrogateConfig(Inputs(reading="class")))
    assert report["r2"] >= 0.95
    assert report["sign_fn"] < 0.5


@pytest.mark.parametrize("seed", range(2))
def test_a_monotone_surrogate_is_a_good_loss(shapes: _Outputs, seed: int) -> None:
    report = _fidelity(shapes, SurrogateConfig(monotone=True), seed)
    assert _least_sign(report) == 1
    assert report["r2"] >= 0.97


def test_the_hinge_needs_a_monotone_surrogate(shapes: _Outputs) -> None:
    free = _fidelity(shapes, SurrogateConfig(Inputs("hinge3")))
    monotone = _fidelity(shapes, SurrogateConfig(Inputs("hinge3"), monotone=True))
    assert _least_sign(free) < 0.95
    assert _least_sign(monotone) == 1
    assert monotone["r2"] >= 0.95
