"""The step that a GPU's memory is measured with: is it the largest, and a real one?"""

from math import isfinite
from typing import Any

import pytest
import torch

from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.orchestrate.trial_step import Step, image_size, largest_steps, take
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages import build
from tests.stages.tiny import tiny_study

CPU = torch.device("cpu")
CONTROLS = {
    "ce": {"name": "cross_entropy"},
    "weighted": {"name": "weighted_cross_entropy"},
    "lovasz": {"name": "lovasz", "cross_entropy_weight": 1.0},
}


def steps(study: StudySpec) -> list[tuple[str, str, int]]:
    found: list[tuple[str, str, int]] = [(step.stage, step.loss.name, step.num_images) for step in largest_steps(study)]
    assert len(set(found)) == len(found)
    return found


def test_batches_are_the_largest_of_their_ranges() -> None:
    search = {"finetune.batch_size": {"choice": [2, 7, 4]}, "pretrain.batch_size": {"int": [3, 6]}}
    assert steps(tiny_study(search=search)) == [
        ("pretrain", "cross_entropy", 6),
        ("finetune", "neuroiou", 7),
        ("finetune", "cross_entropy", 7),
    ]


def test_a_worker_has_its_part_of_a_batch() -> None:
    resources: dict[str, Any] = {"workers": 3}
    assert [number for _, _, number in steps(tiny_study(resources=resources))] == [2, 2, 2]
    shared = {**resources, "shared_workers": 1}
    assert [number for _, _, number in steps(tiny_study(resources=shared))] == [4, 2, 2]


def test_networks_and_optimisers_of_ranges_are_all_there() -> None:
    search = {"model.width": {"int": [4, 8]}, "finetune.optimizer.name": {"choice": ["adamw", "sgd"]}}
    found = [step.trial for step in largest_steps(tiny_study(search=search)) if step.stage == "finetune"]
    assert {trial.model.width for trial in found if trial.model.name == "unet"} == {8}
    assert {trial.finetune.optimizer.name for trial in found} == {"adamw", "sgd"}


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_every_loss_can_take_its_step(micro_batches: int) -> None:
    study = tiny_study(controls=CONTROLS, resources={"micro_batches": micro_batches})
    for step in largest_steps(study):
        assert isfinite(take(step, study.resources, CPU)), step.name


def test_a_step_is_a_training_step() -> None:
    """The loss is the mean of two steps: it falls below that of the first when the network learns."""
    study = tiny_study(pretrain={"epochs": 2, "batch_size": 4, "lr": 1e-2})
    still = tiny_study(pretrain={"epochs": 2, "batch_size": 4, "lr": 1e-30})
    assert take(_pretrain(study), study.resources, CPU) < take(_pretrain(still), still.resources, CPU)


def _pretrain(study: StudySpec) -> Step:
    return next(step for step in largest_steps(study) if step.stage == "pretrain")


def test_images_are_as_large_as_the_network_sees_them() -> None:
    def size(**data: Any) -> tuple[int, int]:
        study = tiny_study(data={"name": "shapes", "num_train": 8, "size": [16, 24], **data})
        training: SegmentationDataset = build.dataset(study.data, "train")
        return image_size(study.sample({}), training)

    assert size() == (16, 24)
    assert size(augment={"crop": [40, 32], "scale": [0.5, 2.0]}) == (40, 32)
