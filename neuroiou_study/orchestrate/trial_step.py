"""One training step of the kind that a study takes, on made-up images: does it fit a device's memory?"""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import torch

from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.data.loading import Batch
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.reduction import SegmentationLoss
from neuroiou_study.core.surrogate import Surrogate
from neuroiou_study.core.training import train_epoch
from neuroiou_study.spec import Range, Scalar, StudySpec, TrialSpec
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.spec.losses import CrossEntropySpec, LossSpec, NeuroIoUSpec, WeightedCrossEntropySpec
from neuroiou_study.spec.training import TrainingSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import LocalWorker
from neuroiou_study.stages.check_data import evenly_spaced

SAMPLED = 64
"""Images that are looked at where they have many sizes; *assumed*."""


@dataclass(frozen=True)
class Step:
    """The largest step of one stage of an arm: its trial, and the images of one worker."""

    stage: str
    trial: TrialSpec
    num_images: int

    @property
    def settings(self) -> TrainingSpec:
        """How the stage trains."""
        return self.trial.pretrain if self.stage == "pretrain" else self.trial.finetune

    @property
    def loss(self) -> LossSpec:
        """What the stage descends."""
        return self.trial.pretrain.loss if self.stage == "pretrain" else self.trial.finetune.loss

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.stage} of {self.trial.model.name} with {self.loss.name}, {self.num_images} images a worker"


def largest_steps(study: StudySpec) -> list[Step]:
    """The steps of ``study`` that may need the most memory: every loss, network and optimiser, the largest batches."""
    trials = list(largest_trials(study))
    shared = study.resources.shared_workers or study.resources.workers
    steps = [Step("pretrain", each, ceil(each.pretrain.batch_size / shared)) for each in trials]
    steps += [Step("finetune", each, ceil(each.finetune.batch_size / study.resources.workers)) for each in trials]
    return list({_what_matters(step): step for step in steps}.values())


def largest_trials(study: StudySpec) -> Iterator[TrialSpec]:
    """Of every arm the trials with the greatest network and batches that its ranges hold; one for each named choice."""
    for arm in study.arms:
        ranges = {name: _greatest(bounds) for name, bounds in study.ranges(arm).items() if _needs_memory(name)}
        for values in itertools.product(*ranges.values()):
            yield study.sample(dict(zip(ranges, values, strict=True)), arm=arm)


def _needs_memory(name: str) -> bool:
    stage, _, field = name.partition(".")
    return stage == "model" or (stage in ("pretrain", "finetune") and field in ("batch_size", "optimizer.name"))


def _greatest(bounds: Range) -> Sequence[Scalar]:
    numbers = [each for each in bounds.corners if isinstance(each, int | float) and not isinstance(each, bool)]
    return [max(numbers)] if len(numbers) == len(bounds.corners) else bounds.corners


def _what_matters(step: Step) -> str:
    return f"{step.name} {step.trial.model!r} {step.settings.optimizer!r} {step.loss!r}"


def take(step: Step, resources: ResourcesSpec, device: torch.device) -> float:
    """The loss of ``step``, taken on ``device``: forward, backward and the optimiser, as a stage does it.

    Raises torch.OutOfMemoryError if it does not fit.
    """
    training = build.dataset(step.trial.data, "train")
    settings = step.settings
    # torch.compile takes minutes, and changes little of the memory.
    worker = LocalWorker(device, resources=resources.model_copy(update={"compile_network": False}))
    network = worker.prepare_model(build.model(step.trial.model, training.num_classes, step.trial.seed))
    loss_fn = _loss(step.loss, step.trial, training).to(device)
    loss_fn.reduction, loss_fn.kernel = settings.reduction, resources.kernel
    optimizer = build.optimizer(settings.optimizer, network, settings.lr)
    batch = _made_up(step, training, device)
    precision, parts = settings.precision, resources.micro_batches
    # Two: an optimiser's moments are there from its second step on.
    return train_epoch(network, [batch, batch], loss_fn, optimizer, device, precision=precision, micro_batches=parts)


def peak_bytes(step: Step, resources: ResourcesSpec, device: torch.device) -> int:
    """What ``step`` takes of the GPU ``device`` at most. Raises torch.OutOfMemoryError if it does not fit."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    take(step, resources, device)
    return torch.cuda.max_memory_allocated(device)


def image_size(trial: TrialSpec, training: SegmentationDataset) -> tuple[int, int]:
    """Height and width of a training image as the network sees it, of many sizes the greatest of some images'."""
    if trial.data.augment.crop is not None:
        return trial.data.augment.crop
    # Images of one batch have one size, which the check of the data makes sure of.
    at_most = 1 if trial.data.size is not None else SAMPLED
    shapes = [training.load(index).labels.shape for index in evenly_spaced(len(training), at_most)]
    height, width = max(shapes, key=lambda shape: shape[0] * shape[1])
    return height, width


def _loss(spec: LossSpec, trial: TrialSpec, training: SegmentationDataset) -> SegmentationLoss:
    """The loss; a learned one with a surrogate that has learned nothing, and without reading labels for weights."""
    if isinstance(spec, WeightedCrossEntropySpec):
        return build.loss(CrossEntropySpec(name="cross_entropy"), training)
    if not isinstance(spec, NeuroIoUSpec):
        return build.loss(spec, training)
    config = build.surrogate_config(trial.fit_surrogate, training.num_classes)
    unlearned = NeuroIoULoss(
        Surrogate(config), aggregate=trial.fit_surrogate.aggregate, ignore_index=training.ignore_index
    )
    with tempfile.TemporaryDirectory() as folder:
        unlearned.save(folder)
        return build.loss(spec, training, Path(folder))


def _made_up(step: Step, training: SegmentationDataset, device: torch.device) -> Batch:
    height, width = image_size(step.trial, training)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(step.num_images, 3, height, width, generator=generator)
    labels = torch.randint(training.num_classes, (step.num_images, height, width), generator=generator)
    names = tuple(f"made-up {each}" for each in range(step.num_images))
    return Batch(images.to(device), labels.to(device), torch.arange(step.num_images), names)
