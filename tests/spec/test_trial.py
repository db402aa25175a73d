from typing import Any

import pytest
from pydantic import ValidationError

from neuroiou_study.spec import TrialSpec
from neuroiou_study.spec.data import ShapesSpec
from neuroiou_study.spec.losses import NeuroIoUSpec, WeightedCrossEntropySpec
from neuroiou_study.spec.training import AdamWSpec, SGDSpec


def trial(**fields: Any) -> TrialSpec:
    return TrialSpec.model_validate({"data": {"name": "shapes"}, **fields})


def refused(**fields: Any) -> str:
    """The dotted place of the only mistake, as pydantic names it."""
    with pytest.raises(ValidationError) as raised:
        trial(**fields)
    (detail,) = raised.value.errors()
    return ".".join(map(str, detail["loc"]))


def test_a_trial_needs_only_data() -> None:
    assert trial().data == ShapesSpec(name="shapes")
    assert refused(data={"name": "camvid"}) == "data.camvid.root"
    with pytest.raises(ValidationError, match="data"):
        TrialSpec.model_validate({})


def test_the_paper_s_and_the_measured_defaults() -> None:
    spec = trial()
    surrogate = spec.fit_surrogate
    assert (surrogate.depth, surrogate.width, surrogate.aggregate) == (4, 100, "image")
    assert (surrogate.inputs, surrogate.reading, surrogate.scale) == ("prob3", "complement", "union")
    assert (surrogate.activation, surrogate.means_gradient, surrogate.monotone) == ("softplus", "detached", False)
    assert (surrogate.lr, surrogate.epochs) == (3e-3, 200)
    assert (spec.pretrain.epochs, spec.finetune.epochs) == (40, 10)
    assert spec.pretrain.loss.name == "cross_entropy" and spec.finetune.loss == NeuroIoUSpec(name="neuroiou")
    assert spec.finetune.optimizer == AdamWSpec(name="adamw", weight_decay=1e-4)
    assert spec.evaluate.split == "select" and spec.seed == 0


def test_sgd_is_the_paper_s() -> None:
    spec = trial(finetune={"optimizer": {"name": "sgd"}})
    assert spec.finetune.optimizer == SGDSpec(name="sgd", momentum=0.99, weight_decay=5e-4)


def test_a_spec_cannot_be_changed() -> None:
    spec = trial()
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        spec.finetune.lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"finetune": {"loss": {"name": "neuroiou", "aggregate": "batch"}}}, "finetune.loss.neuroiou.aggregate"),
        (
            {"finetune": {"loss": {"name": "soft_iou", "class_weights": [1.0]}}},
            "finetune.loss.soft_iou.class_weights",
        ),
        ({"finetune": {"optimizer": {"name": "adamw", "momentum": 0.9}}}, "finetune.optimizer.adamw.momentum"),
        ({"data": {"name": "shapes", "root": "x"}}, "data.shapes.root"),
        ({"data": {"name": "camvid", "root": "x", "num_train": 8}}, "data.camvid.num_train"),
    ],
)
def test_the_options_of_one_kind_cannot_leak_to_another(fields: dict[str, Any], where: str) -> None:
    assert refused(**fields) == where


def test_pretraining_is_by_a_cross_entropy() -> None:
    assert refused(pretrain={"loss": {"name": "soft_iou"}}) == "pretrain.loss"


def test_class_weights_are_computed_or_given() -> None:
    loss = trial(finetune={"loss": {"name": "weighted_cross_entropy"}}).finetune.loss
    assert loss == WeightedCrossEntropySpec(name="weighted_cross_entropy", class_weights="median_frequency")
    loss = trial(finetune={"loss": {"name": "weighted_cross_entropy", "class_weights": [1, 2.5]}}).finetune.loss
    assert isinstance(loss, WeightedCrossEntropySpec) and loss.class_weights == (1.0, 2.5)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        trial(finetune={"loss": {"name": "weighted_cross_entropy", "class_weights": [1, -1]}})


def test_a_monotone_surrogate_needs_a_monotone_activation() -> None:
    assert refused(fit_surrogate={"monotone": True, "activation": "silu"}) == "fit_surrogate"
    assert trial(fit_surrogate={"monotone": True, "activation": "relu"}).fit_surrogate.monotone
    assert trial(fit_surrogate={"activation": "silu"}).fit_surrogate.activation == "silu"


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("pretrain", "epochs", 0),
        ("pretrain", "lr", 0.0),
        ("finetune", "batch_size", 0),
        ("finetune", "lr", float("inf")),
        ("finetune", "reduction", "max"),
        ("finetune", "start", "vgg"),
        ("gate", "min_sign", 1.5),
        ("gate", "max_gain_error", 0.0),
        ("fit_surrogate", "depth", 17),
        ("fit_surrogate", "width", 4097),
        ("fit_surrogate", "held_out_fraction", 1.0),
        ("fit_surrogate", "images_per_row", 1),
        ("fit_surrogate", "monotone", 1),
        ("collect_pairs", "batch_size", True),
        ("evaluate", "split", "test"),
    ],
)
def test_a_number_outside_its_bounds_is_refused(section: str, field: str, value: object) -> None:
    assert refused(**{section: {field: value}}) == f"{section}.{field}"


@pytest.mark.parametrize(("field", "value"), [("width", 6), ("levels", 7)])
def test_a_network_s_number_outside_its_bounds_is_refused(field: str, value: int) -> None:
    assert refused(model={"name": "unet", field: value}) == f"model.unet.{field}"


def test_snapshots_are_kept_before_they_are_used() -> None:
    assert refused(collect_pairs={"snapshots": 1}) == ""
    assert refused(pretrain={"epochs": 3, "snapshots": 3}) == "pretrain"
    used = trial(pretrain={"epochs": 3, "snapshots": 2}, collect_pairs={"snapshots": 2})
    assert (used.pretrain.snapshots, used.collect_pairs.snapshots) == (2, 2)
