"""What every data set is: named samples of an image and its labels, in three disjoint splits."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Split = Literal["train", "select", "val"]
SPLITS = get_args(Split)


class Sample(NamedTuple):
    """One example as it is stored."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    labels: NDArray[np.uint8]  # (H, W) class index or ignore_index
    name: str


@dataclass(frozen=True)
class Summary:
    """What is in a split, counted over all of its samples."""

    num_images: int
    sizes: dict[tuple[int, int], int]
    """(height, width) → number of images, the most frequent first."""
    class_fractions: tuple[float, ...]
    """Share of each class in the valid pixels; 0 for all classes if there is no valid pixel."""
    images_with_class: tuple[int, ...]
    """Number of images with at least one pixel of each class."""
    void_fraction: float
    """Share of void in all pixels."""


def unheard(name: str) -> None:
    """What hears of a sample where nobody wants to."""


class SegmentationDataset(ABC):
    """A split of a data set: ``train`` to fit, ``select`` to choose with, ``val`` to decide with, once."""

    class_names: tuple[str, ...]
    ignore_index: int
    background: int | None = None
    """The class that "mean IoU without background" leaves out, if there is one."""

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def load(self, index: int) -> Sample:
        """Sample ``index``. Raises ValueError naming the file if it is damaged or its labels are out of range."""

    def samples(self) -> Iterator[Sample]:
        """Every sample once, in order; raises as :meth:`load` does at the first bad one."""
        return (self.load(index) for index in range(len(self)))

    def check(self) -> Iterator[str]:
        """Load every sample once, yielding its name; raises as :meth:`load` does at the first bad one."""
        return (sample.name for sample in self.samples())

    def pixels_per_class(self) -> Tensor:
        """``(N, C + 1)`` int64 pixels of each image of this split by class, void last; reads every sample."""
        return torch.stack([self._pixels(sample.labels) for sample in self.samples()])

    def class_frequencies(self) -> Tensor:
        """``(C,)`` float64 share of each class in the valid pixels of this split; reads every sample."""
        return _shares(self.pixels_per_class())

    def summary(self, opened: Callable[[str], object] = unheard) -> Summary:
        """What is in this split; reads every sample once and calls ``opened`` with its name."""
        rows, sizes = [], Counter[tuple[int, ...]]()
        for sample in self.samples():
            rows.append(self._pixels(sample.labels))
            sizes[sample.labels.shape] += 1
            opened(sample.name)
        pixels = torch.stack(rows) if rows else torch.zeros(0, self.num_classes + 1, dtype=torch.int64)
        return Summary(
            num_images=len(rows),
            sizes={(height, width): count for (height, width), count in sizes.most_common()},
            class_fractions=tuple(_shares(pixels).tolist()),
            images_with_class=tuple((pixels[:, :-1] > 0).sum(0).tolist()),
            void_fraction=float(pixels[:, -1].sum() / pixels.sum().clamp(min=1)),
        )

    def _pixels(self, labels: NDArray[np.uint8]) -> Tensor:
        """``(C + 1,)`` int64 pixels of ``labels`` ``(H, W)`` by class, void last."""
        of_value = np.bincount(labels.reshape(-1), minlength=256)
        return torch.from_numpy(of_value[[*range(self.num_classes), self.ignore_index]])


def _shares(pixels: Tensor) -> Tensor:
    """``(C,)`` shares in the valid pixels of ``pixels`` ``(N, C + 1)``."""
    of_class = pixels[:, :-1].sum(0).double()
    return of_class / of_class.sum().clamp(min=1)


def check_labels(where: str, labels: NDArray[np.uint8], num_classes: int, ignore_index: int) -> None:
    """Raise ValueError naming ``where`` and the value if a label is neither a class nor ``ignore_index``."""
    bad = (labels >= num_classes) & (labels != ignore_index)
    if bad.any():
        value, (row, column) = int(labels[bad][0]), np.argwhere(bad)[0]
        raise ValueError(
            f"{where}: label {value} at row {row}, column {column}: classes are 0 to {num_classes - 1} "
            f"and {ignore_index} is void: correct the label image or the data set's class list"
        )
