"""Small random inputs that the tests of core share; equal arguments give equal values."""

import torch
from torch import Tensor

from neuroiou_study.core.features import Inputs
from neuroiou_study.core.fitting import Rows
from neuroiou_study.core.losses import ClosedFormLoss, CrossEntropyLoss, FlipLoss, MixedLoss, SoftIoULoss
from neuroiou_study.core.lovasz import LovaszLoss
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.reduction import SegmentationLoss
from neuroiou_study.core.surrogate import Activation, Surrogate, SurrogateConfig


def batch(
    *,
    images: int = 2,
    classes: int = 4,
    height: int = 5,
    width: int = 6,
    ignore_index: int = 255,
    void_fraction: float = 0.2,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Float64 logits ``(B, C, H, W)`` that are right about every second pixel, and labels ``(B, H, W)``, some void."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images, height, width), generator=generator)
    logits = torch.randn(images, classes, height, width, generator=generator, dtype=torch.float64)
    logits += 1.5 * torch.nn.functional.one_hot(labels, classes).permute(0, 3, 1, 2)
    void = torch.rand(labels.shape, generator=generator) < void_fraction
    return logits, torch.where(void, ignore_index, labels)


def surrogate(
    inputs: Inputs | None = None,
    *,
    depth: int = 1,
    width: int = 6,
    activation: Activation = "softplus",
    monotone: bool = False,
    seed: int = 0,
) -> Surrogate:
    """A float64 surrogate with random weights, biases and z-score."""
    made = Surrogate(SurrogateConfig(inputs or Inputs(), depth, width, activation, monotone)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(generator=generator)
        made.net.mean.uniform_(0, 1, generator=generator)
        made.net.std.uniform_(0.5, 2, generator=generator)
    return made


def rows(num_images: int = 40, rows_per_image: int = 3, seed: int = 0) -> Rows:
    """Rows as a half-trained network would leave them: each set's pixels have their own mean confidence."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 200, (num_images * rows_per_image, 3), generator=generator)
    spread = 0.9 + 0.2 * torch.rand(counts.shape, generator=generator, dtype=torch.float64)
    sums = counts * spread * torch.tensor([0.8, 0.6, 0.7], dtype=torch.float64)
    image = torch.arange(num_images).repeat_interleave(rows_per_image)
    return Rows(counts, sums, counts.sum(-1) + 50, torch.arange(len(counts)) % 3, image)


AGGREGATES = ("image", "batch")


def every_loss(num_classes: int = 4) -> dict[str, SegmentationLoss]:
    """New losses of every kind by name; the surrogates are monotone, so that a step helps."""
    losses: dict[str, SegmentationLoss] = {
        "cross_entropy": CrossEntropyLoss(),
        "weighted": CrossEntropyLoss(class_weights=[0.5 * 2**c for c in range(num_classes)]),
        "mixed": MixedLoss({CrossEntropyLoss(): 0.4, SoftIoULoss(aggregate="batch"): 2.0}),
    }
    told_class = Inputs(class_one_hot=num_classes)
    for aggregate in AGGREGATES:
        losses[f"soft_iou_{aggregate}"] = SoftIoULoss(aggregate=aggregate)
        losses[f"lovasz_{aggregate}"] = LovaszLoss(aggregate=aggregate)
        losses[f"closed_form_{aggregate}"] = ClosedFormLoss(aggregate=aggregate)
        losses[f"flip_{aggregate}"] = FlipLoss(aggregate=aggregate)
        losses[f"flip_log_{aggregate}"] = FlipLoss(aggregate=aggregate, inputs=Inputs("log3"))
        losses[f"neuroiou_{aggregate}"] = NeuroIoULoss(surrogate(monotone=True), aggregate=aggregate)
        losses[f"neuroiou_class_{aggregate}"] = NeuroIoULoss(surrogate(told_class, monotone=True), aggregate=aggregate)
    return losses
