"""Cityscapes with fine labels: the 34 label ids of the files become 19 classes and void on loading."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroiou_study.core.data.dataset import Split
from neuroiou_study.core.data.files import FilesDataset, Pair, portion

_NUM_LABEL_IDS = 34
_VOID = 255
_REFUSED = 254
_CLASS_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label id of each class; *cited*: trainId in cityscapesScripts' labels.py."""
_IMAGE_END, _LABEL_END = "_leftImg8bit.png", "_gtFine_labelIds.png"


def _train_ids() -> NDArray[np.uint8]:
    """``(256,)`` class, void or "refused" of every stored number; 255 is -1, a licence plate."""
    table = np.full(256, _REFUSED, dtype=np.uint8)
    table[:_NUM_LABEL_IDS] = _VOID
    table[-1] = _VOID
    table[list(_CLASS_LABEL_IDS)] = np.arange(len(_CLASS_LABEL_IDS))
    return table


_TRAIN_IDS = _train_ids()


class CityscapesDataset(FilesDataset):
    """A split of Cityscapes at ``root``, images in the order of their names.

    ``val`` is the data set's own; ``select`` is an evenly spaced ``select_fraction`` of its train split. ``size``
    (height, width) resizes on loading. Raises FileNotFoundError if there are no images or labels are missing.
    """

    title = "Cityscapes"
    class_names = (
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    )
    ignore_index = _VOID

    def __init__(
        self, root: Path | str, split: Split, *, size: tuple[int, int] | None = None, select_fraction: float = 0.2
    ) -> None:
        listed = _find(Path(root), "val" if split == "val" else "train")
        super().__init__(root, split, listed if split == "val" else portion(listed, split, select_fraction), size=size)

    def class_indices(self, path: Path, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        classes = _TRAIN_IDS[labels]
        bad = classes == _REFUSED
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ValueError(
                f"{path}: label id {labels[row, column]} at row {row}, column {column}: label ids are 0 to "
                f"{_NUM_LABEL_IDS - 1}: re-copy the file, which must be the labelIds of gtFine"
            )
        return classes


def _find(root: Path, folder: str) -> list[Pair]:
    images = sorted((root / "leftImg8bit" / folder).glob(f"*/*{_IMAGE_END}"))
    if not images:
        wanted = f"leftImg8bit/{folder}/<city>/*{_IMAGE_END}"
        raise FileNotFoundError(f"data.root: {root}: must be a folder with {wanted} (Cityscapes): set data.root to it")
    masks = root / "gtFine" / folder
    return [(path, masks / path.parent.name / (path.name.removesuffix(_IMAGE_END) + _LABEL_END)) for path in images]
