"""Binary mode: one class of a data set against everything else, as in the paper's table by category."""

import numpy as np

from neuroiou_study.core.data.dataset import Sample, SegmentationDataset


class CategoryDataset(SegmentationDataset):
    """``dataset`` with the labels 1 where the class ``category`` is, 0 elsewhere and void where it was.

    Raises ValueError if ``dataset`` has no such class.
    """

    background = 0

    def __init__(self, dataset: SegmentationDataset, category: str) -> None:
        if category not in dataset.class_names:
            names = ", ".join(dataset.class_names)
            raise ValueError(f"data.category: {category}: must be a class of the data set ({names}): choose one")
        self.dataset, self.category = dataset, category
        self.class_names = ("rest" if category != "rest" else "others", category)
        self.ignore_index = dataset.ignore_index

    def __len__(self) -> int:
        return len(self.dataset)

    def load(self, index: int) -> Sample:
        image, labels, name = self.dataset.load(index)
        binary = (labels == self.dataset.class_names.index(self.category)).astype(np.uint8)
        binary[labels == self.ignore_index] = self.ignore_index
        return Sample(image, binary, name)
