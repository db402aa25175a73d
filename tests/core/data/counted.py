"""A data set that tells what of it is decoded, for tests of what decodes once."""

import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from neuroiou_study.core.data.dataset import Sample, SegmentationDataset, Split
from neuroiou_study.core.data.folder import FolderDataset
from tests.core.data.made import filled, make_folder, noise, write

NAMES = [f"{number:02d}" for number in range(40)]
SIZES = [(6, 8), (9, 5), (20, 30)]


def make_images(root: Path) -> Path:
    """Forty training images, not all of one size, and two that decide, in ``root``."""
    make_folder(root, NAMES, ["v0", "v1"])
    for number, name in enumerate(NAMES):
        height, width = SIZES[number % 3]
        write(root / "images" / f"{name}.png", np.resize(noise(number), (height, width, 3)))
        write(root / "masks" / f"{name}.png", np.resize(filled(number % 3), (height, width)))
    return root


class Counted(FolderDataset):
    """A folder that writes down which images are decoded, by any process; one that stops never decodes the last."""

    stops: Connection | None = None

    def load(self, index: int) -> Sample:
        if self.stops is not None and index == len(self) - 1:
            self.stops.send("in the middle")
            threading.Event().wait()
        with (self.root / "decoded").open("a") as file:
            file.write(f"{index}\n")
        return super().load(index)


def counted(root: Path, split: Split = "train", **changes: Any) -> Counted:
    return Counted(root, split, ("a", "b", "c"), **{"background": 1, "select_fraction": 0.0, **changes})


def decoded(root: Path) -> list[int]:
    """What has been decoded since we last asked."""
    path = root / "decoded"
    indices = [int(line) for line in path.read_text().splitlines()] if path.is_file() else []
    path.unlink(missing_ok=True)
    return sorted(indices)


def plain(root: Path, split: Split = "train", **changes: Any) -> list[Sample]:
    """The samples without any cache."""
    samples = list(counted(root, split, **changes).samples())
    decoded(root)
    return samples


def assert_same(dataset: SegmentationDataset, expected: list[Sample]) -> None:
    assert len(dataset) == len(expected)
    for one, other in zip(dataset.samples(), expected, strict=True):
        assert one.name == other.name
        for array, wanted in zip(one[:2], other[:2], strict=True):
            assert array.dtype == np.uint8 and np.array_equal(array, wanted)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
