"""What every data set is: named samples of an image and its labels, in three disjoint splits."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
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

    def check(self) -> Iterator[str]:
        """Load every sample once, yielding its name; raises as :meth:`load` does at the first bad one."""
        for index in range(len(self)):
            yield self.load(index).name

    def pixels_per_class(self) -> Tensor:
        """``(N, C + 1)`` int64 pixels of each image of this split by class, void last; reads every sample."""
        return torch.stack([self._pixels(index) for index in range(len(self))])

    def _pixels(self, index: int) -> Tensor:
        labels = torch.from_numpy(self.load(index).labels).long()
        classes = torch.where(labels == self.ignore_index, self.num_classes, labels)
        return torch.bincount(classes.flatten(), minlength=self.num_classes + 1)


def check_labels(where: str, labels: NDArray[np.uint8], num_classes: int, ignore_index: int) -> None:
    """Raise ValueError naming ``where`` and the value if a label is neither a class nor ``ignore_index``."""
    bad = (labels >= num_classes) & (labels != ignore_index)
    if bad.any():
        value, (row, column) = int(labels[bad][0]), np.argwhere(bad)[0]
        raise ValueError(
            f"{where}: label {value} at row {row}, column {column}: classes are 0 to {num_classes - 1} "
            f"and {ignore_index} is void: correct the label image or the data set's class list"
        )
