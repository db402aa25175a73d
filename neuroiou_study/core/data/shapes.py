"""Shapes: a procedural, seeded data set without files, with rare small classes and void borders.

Discs, squares, triangles, thin poles and small dots on a textured background. Colours overlap between classes, so a
network has to look at the form; poles and dots cover about one pixel in a hundred, so that cross-entropy neglects
them and IoU does not.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from neuroiou_study.core.data.dataset import SPLITS, Sample, SegmentationDataset, Split

Mask = NDArray[np.bool_]
_PALETTE = np.array([[110, 120, 130], [190, 90, 80], [90, 170, 100], [80, 100, 190], [180, 170, 90], [170, 90, 170]])
_COLOUR_SPREAD = 42
_PIXEL_NOISE = 26


class ShapesDataset(SegmentationDataset):
    """``num_images`` images of ``height`` × ``width`` pixels; equal arguments give equal pixels on any machine."""

    class_names = ("background", "disc", "square", "triangle", "pole", "dot")
    ignore_index = 255
    background = 0

    def __init__(self, split: Split, num_images: int, height: int, width: int, seed: int = 0) -> None:
        self.split, self.num_images, self.height, self.width, self.seed = split, num_images, height, width, seed

    def __len__(self) -> int:
        return self.num_images

    def load(self, index: int) -> Sample:
        image, labels = _draw(self.seed, SPLITS.index(self.split), index, self.height, self.width)
        return Sample(image, labels, f"{self.split}-{index:05d}")


@lru_cache(maxsize=4096)
def _draw(seed: int, split: int, index: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng((seed, split, index))
    labels = np.zeros((height, width), dtype=np.uint8)
    canvas = _background(rng, height, width)
    for class_index in _scene(rng):
        mask = _mask(class_index, rng, height, width)
        canvas[mask] = _PALETTE[class_index] + rng.normal(0, _COLOUR_SPREAD, 3)
        labels[_grown(mask)] = ShapesDataset.ignore_index
        labels[mask] = class_index
    canvas += rng.normal(0, _PIXEL_NOISE, canvas.shape)
    return canvas.clip(0, 255).astype(np.uint8), labels


def _scene(rng: np.random.Generator) -> list[int]:
    """Class indices of the objects of one image, back to front: two or three large, then poles and dots."""
    large = [int(rng.integers(1, 4)) for _ in range(rng.integers(2, 4))]
    small = [4] * int(rng.integers(0, 3)) + [5] * int(rng.integers(0, 4))
    return large + small


def _background(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    slope = np.linspace(-1, 1, height)[:, None] * rng.normal(0, 25) + np.linspace(-1, 1, width) * rng.normal(0, 25)
    colour = _PALETTE[0] + rng.normal(0, _COLOUR_SPREAD, 3)
    return np.asarray(colour + slope[..., None], dtype=np.float64)


def _mask(class_index: int, rng: np.random.Generator, height: int, width: int) -> Mask:
    """Where an object of the class lies; sizes are fractions of the image's height."""
    rows, columns = np.mgrid[0:height, 0:width]
    y, x = rows - rng.uniform(0.1, 0.9) * height, columns - rng.uniform(0.1, 0.9) * width
    size = rng.uniform(0.12, 0.24) * height
    match class_index:
        case 1:
            return np.asarray(y**2 + x**2 <= size**2)
        case 2:
            return np.asarray(np.maximum(abs(y), abs(x)) <= size * 0.9)
        case 3:
            return np.asarray((abs(y) <= size) & (abs(x) <= (y + size) / 2))
        case 4:
            return np.asarray((abs(y) <= size * 1.5) & (abs(x) <= height / 64))
        case _:
            return np.asarray(y**2 + x**2 <= (height / 26) ** 2)


def _grown(mask: Mask) -> Mask:
    """``mask`` and its four neighbours: the one-pixel border that becomes void, as in PASCAL VOC."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown
