from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from pydantic import TypeAdapter

from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.kernels.choice import KernelName
from neuroiou_study.core.losses import (
    ClosedFormLoss,
    CrossEntropyLoss,
    MixedLoss,
    SoftIoULoss,
    median_frequency_weights,
)
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.spec.data import CamvidSpec, DataSpec
from neuroiou_study.spec.losses import LossSpec, WeightedCrossEntropySpec
from neuroiou_study.spec.training import (
    AdamSpec,
    ConstantSpec,
    CosineSpec,
    OptimizerSpec,
    PolySpec,
    ScheduleSpec,
    SGDSpec,
)
from neuroiou_study.stages import build
from tests.stages.tiny import tiny_trial

SPEC = tiny_trial()
TRAINING = build.dataset(SPEC.data, "train")


def kinds(union: Any) -> set[str]:
    """The names that a union of specs offers."""
    return {kind.model_fields["name"].annotation.__args__[0] for kind in get_args(get_args(union)[0])}


def test_the_splits_of_a_data_set_are_as_large_as_the_trial_says() -> None:
    assert [len(build.dataset(SPEC.data, split)) for split in ("train", "select", "val")] == [8, 4, 4]
    images = [build.dataset(SPEC.data, split).load(0).image for split in ("train", "select", "val")]
    assert all(image.shape == (16, 24, 3) for image in images)
    assert (images[0] != images[1]).any() and (images[1] != images[2]).any()
    other = build.dataset(SPEC.data.model_copy(update={"seed": 1}), "train").load(0).image
    assert (images[0] != other).any()


def test_camvid_is_read_from_its_folder(camvid_small: Path) -> None:
    assert kinds(DataSpec) == {"shapes", "camvid", "voc", "cityscapes", "folder"}
    spec = CamvidSpec(name="camvid", root=str(camvid_small), size=(24, 32), select_fraction=0.5)
    dataset = build.dataset(spec, "select")
    assert isinstance(dataset, CamvidDataset) and dataset.load(0).labels.shape == (24, 32)
    whole = build.dataset(spec.model_copy(update={"select_fraction": 0.01}), "train")
    assert len(whole) > len(dataset) > 0


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"data.root: {tmp_path}"):
        build.dataset(CamvidSpec(name="camvid", root=str(tmp_path)), "train")


@pytest.mark.parametrize("name", sorted(kinds(LossSpec) - {"neuroiou"}))
def test_every_written_loss_can_be_built_and_lowered(name: str) -> None:
    spec: Any = TypeAdapter(LossSpec).validate_python({"name": name})
    loss_fn = build.loss(spec, TRAINING)
    labels = torch.from_numpy(TRAINING.load(0).labels).long().unsqueeze(0)
    logits = torch.zeros(1, 6, 16, 24, requires_grad=True)
    before = loss_fn(logits, labels)
    before.backward()
    assert logits.grad is not None
    assert loss_fn(logits - 100 * logits.grad, labels) < before
    assert loss_fn.ignore_index == TRAINING.ignore_index


def test_a_loss_has_its_options() -> None:
    image, batch = ({"name": "soft_iou", "aggregate": aggregate} for aggregate in ("image", "batch"))
    for document in (image, batch):
        spec: Any = TypeAdapter(LossSpec).validate_python(document)
        loss_fn = build.loss(spec, TRAINING)
        assert isinstance(loss_fn, SoftIoULoss) and loss_fn.aggregate == document["aggregate"]


def test_class_weights_are_of_the_training_split_or_given() -> None:
    computed = build.loss(WeightedCrossEntropySpec(name="weighted_cross_entropy"), TRAINING)
    assert isinstance(computed, CrossEntropyLoss) and computed.class_weights is not None
    assert torch.equal(computed.class_weights, median_frequency_weights(TRAINING.pixels_per_class()))
    assert computed.class_weights.argmin() == TRAINING.background
    weights = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    given = build.loss(WeightedCrossEntropySpec(name="weighted_cross_entropy", class_weights=weights), TRAINING)
    assert isinstance(given, CrossEntropyLoss) and given.class_weights is not None
    assert given.class_weights.tolist() == list(weights)


def test_too_few_class_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"class_weights: 2 numbers: one for each of 6 classes \(background, disc"):
        build.loss(WeightedCrossEntropySpec(name="weighted_cross_entropy", class_weights=(1.0, 2.0)), TRAINING)


def test_an_optimizer_has_its_options() -> None:
    assert kinds(OptimizerSpec) == {"adamw", "adam", "sgd"}
    network = build.model(SPEC.model, 6, 0)
    adamw = build.optimizer(SPEC.finetune.optimizer, network, 0.25)
    assert isinstance(adamw, torch.optim.AdamW)
    assert (adamw.defaults["lr"], adamw.defaults["weight_decay"]) == (0.25, 1e-4)
    adam = build.optimizer(AdamSpec(name="adam", weight_decay=0.5), network, 0.25)
    assert type(adam) is torch.optim.Adam
    assert (adam.defaults["lr"], adam.defaults["weight_decay"]) == (0.25, 0.5)
    sgd = build.optimizer(SGDSpec(name="sgd", momentum=0.5), network, 0.25)
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["lr"], sgd.defaults["momentum"], sgd.defaults["weight_decay"]) == (0.25, 0.5, 5e-4)
    assert sum(parameter.numel() for parameter in sgd.param_groups[0]["params"]) == sum(
        parameter.numel() for parameter in network.parameters()
    )


def test_a_surrogate_has_the_trial_s_shape_and_settings() -> None:
    trial = tiny_trial(
        fit_surrogate__inputs="hinge6",
        fit_surrogate__monotone=True,
        fit_surrogate__patience=7,
        fit_surrogate__batch_size=9,
        fit_surrogate__held_out_fraction=0.25,
    )
    config, settings = build.surrogate_config(trial.fit_surrogate, 6), build.fit_settings(trial.fit_surrogate, 5)
    assert (config.inputs.name, config.depth, config.width, config.monotone) == ("hinge6", 2, 8, True)
    assert (config.inputs.hinge, config.inputs.class_one_hot) == ("crammer_singer", 0)
    assert (config.inputs.reading, config.inputs.scale, config.activation) == ("complement", "union", "softplus")
    assert (settings.epochs, settings.patience, settings.seed, settings.lr) == (5, 7, 5, 3e-3)
    assert (settings.batch_size, settings.held_out_fraction) == (9, 0.25)


def test_context_has_no_effect_where_nothing_is_learned_of_gains() -> None:
    def built(**values: object) -> tuple[int, bool, float]:
        spec = tiny_trial(**{f"fit_surrogate__{name}": value for name, value in values.items()}).fit_surrogate
        inputs = build.surrogate_config(spec, 6).inputs
        return inputs.class_one_hot, inputs.context, build.fit_settings(spec, 0).flip_gain_weight

    assert built(class_one_hot=True) == (6, False, 0.0)
    assert built(context=True) == (0, False, 0.0)
    assert built(context=True, flip_gain_weight=0.5) == (6, True, 0.5)
    assert built(class_one_hot=True, flip_gain_weight=0.5, inputs="hinge3") == (6, False, 0.5)


def test_cross_entropy_is_added_where_it_has_a_weight() -> None:
    labels = torch.from_numpy(TRAINING.load(0).labels).long().unsqueeze(0)
    logits = torch.randn(1, 6, 16, 24, generator=torch.Generator().manual_seed(0))
    document = {"name": "soft_iou", "cross_entropy_weight": 0.25}
    mixed: Any = TypeAdapter(LossSpec).validate_python(document)
    apart = SoftIoULoss()(logits, labels) + 0.25 * CrossEntropyLoss()(logits, labels)
    assert torch.isclose(build.loss(mixed, TRAINING)(logits, labels), apart)


def rates(spec: ScheduleSpec, num_steps: int = 4) -> list[float]:
    """The learning rate before each of the steps, and after the last."""
    optimizer = build.optimizer(SGDSpec(name="sgd"), build.model(SPEC.model, 6, 0), 0.5)
    schedule = build.schedule(spec, optimizer, num_steps)
    found = []
    for _ in range(num_steps + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_a_schedule_lowers_the_learning_rate_from_step_to_step() -> None:
    assert kinds(ScheduleSpec) == {"constant", "poly", "cosine"}
    assert rates(ConstantSpec()) == [0.5] * 5
    assert rates(PolySpec(name="poly", power=2.0)) == pytest.approx([0.5, 0.28125, 0.125, 0.03125, 0])
    half = 0.25 * 2**-0.5
    assert rates(CosineSpec(name="cosine")) == pytest.approx([0.5, 0.25 + half, 0.25, 0.25 - half, 0])


def test_a_study_may_ask_for_every_kernel_that_there_is() -> None:
    assert get_args(ResourcesSpec.model_fields["kernel"].annotation) == get_args(KernelName)


def test_the_kernel_of_a_mix_is_that_of_its_parts() -> None:
    part = ClosedFormLoss()
    MixedLoss({part: 1.0, CrossEntropyLoss(): 0.5}).kernel = "reference"
    assert part.kernel == "reference"
