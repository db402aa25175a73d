"""From a stored sample to the tensors a network takes; joint for image and labels, seeded by sample and epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from torch import Tensor

from neuroiou_study.core.data.dataset import Sample

PIXEL_MEAN = 0.5
PIXEL_STD = 0.25
"""Of RGB in [0, 1]; *assumed*: one pair for every data set, so that a network does not depend on which it was."""
_PADDING = 128
"""The stored value nearest to PIXEL_MEAN, so that a padded pixel is about 0 in a tensor."""


def to_tensors(sample: Sample) -> tuple[Tensor, Tensor]:
    """Image ``(3, H, W)`` float32, roughly zero mean and unit variance, and labels ``(H, W)`` int64."""
    return normalised(torch.from_numpy(sample.image).permute(2, 0, 1)), torch.from_numpy(sample.labels).long()


def normalised(image: Tensor) -> Tensor:
    """``image``, uint8 in any shape, as float32 with roughly zero mean and unit variance."""
    values = image.float()
    # A tensor rather than a number: a GPU divides by a number through its reciprocal, which differs in the last bit.
    return values.div_(torch.full((), 255.0, device=values.device)).sub_(PIXEL_MEAN).div_(PIXEL_STD)


@dataclass(frozen=True)
class Augment:
    """What is done at random to a training image and, where it moves pixels, to its labels.

    ``augment(sample, (run, epoch, index), void)`` is always the same sample. Each of the options has random numbers of
    its own, so that switching one on leaves the others as they were.
    """

    flip: bool = True
    """Mirror every second sample left to right."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Lowest and highest factor of a resize; any factor between is equally likely."""
    crop: tuple[int, int] | None = None
    """Height and width of a part anywhere in the image; a smaller image lies anywhere in it, and void around it."""
    colour: float = 0.0
    """Brightness, contrast and saturation are multiplied with factors between 1 - colour and 1 + colour."""

    def __call__(self, sample: Sample, seed: tuple[int, ...], void: int) -> Sample:
        """``sample`` varied as ``seed``, which names run, epoch and sample, decides; ``void`` labels what is padded."""
        # The flip's number is the first: another would change every result with the default augmentation.
        flip, scale, row, column, *colours = np.random.default_rng(seed).random(7).tolist()
        image, labels, name = sample
        if self.flip and flip >= 0.5:
            image, labels = _mirrored(image), _mirrored(labels)
        if self.colour > 0:
            image = _recoloured(image, [1 + self.colour * (2 * number - 1) for number in colours])
        height, width = (max(1, round(side * _between(self.scale, scale))) for side in labels.shape)
        image, labels = resize(image, labels, height, width, Image.Resampling.BILINEAR)
        if self.crop is not None:
            image = _cropped(image, self.crop, (row, column), _PADDING)
            labels = _cropped(labels, self.crop, (row, column), void)
        return Sample(image, labels, name)


FLIP_ONLY = Augment()
"""What a study does that says nothing about augmentation."""


def resize(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    height: int,
    width: int,
    resampling: Image.Resampling = Image.Resampling.BOX,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """``image`` ``(H, W, 3)`` averaged and ``labels`` ``(H, W)`` by nearest neighbour, to ``height`` × ``width``."""
    if labels.shape == (height, width):
        return image, labels
    small_image = Image.fromarray(image).resize((width, height), resampling)
    small_labels = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
    # np.asarray would share Pillow's read-only buffer, which torch cannot take.
    return np.array(small_image), np.array(small_labels)


def _mirrored(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``array`` ``(H, W, ...)`` left to right."""
    # Ten times as fast as numpy's copy of a reversed view (measured: CamVid, 360 × 480).
    return torch.from_numpy(array).flip(1).numpy()


def _between(ends: tuple[float, float], at: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * at


def _cropped(
    array: NDArray[np.uint8], size: tuple[int, int], at: tuple[float, float], padding: int
) -> NDArray[np.uint8]:
    """``array`` ``(H, W, ...)`` cut or padded to ``size``; ``at``, in [0, 1), is where in the room that there is."""
    cropped = np.full((*size, *array.shape[2:]), padding, dtype=np.uint8)
    rows, columns = (_overlap(*sides) for sides in zip(array.shape[:2], size, at, strict=True))
    cropped[rows[1], columns[1]] = array[rows[0], columns[0]]
    return cropped


def _overlap(stored: int, wanted: int, at: float) -> tuple[slice, slice]:
    """Which part of a side of ``stored`` pixels becomes which part of one of ``wanted`` pixels."""
    offset, length = int(at * (abs(stored - wanted) + 1)), min(stored, wanted)
    whole, part = slice(0, length), slice(offset, offset + length)
    return (part, whole) if stored > wanted else (whole, part)


def _recoloured(image: NDArray[np.uint8], factors: Sequence[float]) -> NDArray[np.uint8]:
    """``image`` ``(H, W, 3)`` with its brightness, contrast and saturation multiplied with ``factors``."""
    picture = Image.fromarray(image)
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for kind, factor in zip(kinds, factors, strict=True):
        picture = kind(picture).enhance(factor)
    return np.array(picture)
