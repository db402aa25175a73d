"""From a stored sample to the tensors a network takes; joint for image and labels, seeded by sample and epoch."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from neuroiou_study.core.data.dataset import Sample

PIXEL_MEAN = 0.5
PIXEL_STD = 0.25
"""Of RGB in [0, 1]; *assumed*: one pair for every data set, so that a network does not depend on which it was."""


def to_tensors(sample: Sample) -> tuple[Tensor, Tensor]:
    """Image ``(3, H, W)`` float32, roughly zero mean and unit variance, and labels ``(H, W)`` int64."""
    image = torch.from_numpy(sample.image).permute(2, 0, 1).float() / 255
    return (image - PIXEL_MEAN) / PIXEL_STD, torch.from_numpy(sample.labels).long()


def flip_half(sample: Sample, seed: tuple[int, ...]) -> Sample:
    """``sample`` mirrored left to right for every second ``seed``, which names run, epoch and sample."""
    if np.random.default_rng(seed).random() < 0.5:
        return sample
    return Sample(sample.image[:, ::-1].copy(), sample.labels[:, ::-1].copy(), sample.name)


def resize(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], height: int, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """``image`` ``(H, W, 3)`` averaged and ``labels`` ``(H, W)`` by nearest neighbour, to ``height`` × ``width``."""
    if labels.shape == (height, width):
        return image, labels
    small_image = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
    small_labels = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
    # np.asarray would share Pillow's read-only buffer, which torch cannot take.
    return np.array(small_image), np.array(small_labels)
