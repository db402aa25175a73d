"""What data sets of files have in common: lists, portions, image files and label files, and errors that name them."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neuroiou_study.core.data.dataset import Sample, SegmentationDataset, Split, check_labels
from neuroiou_study.core.data.transforms import resize

Entry = TypeVar("Entry")
Pair = tuple[Path, Path]
_IMAGE_MODES = ("RGB", "RGBA", "L", "LA", "P", "CMYK")
_LABEL_MODES = ("L", "P")


class FilesDataset(SegmentationDataset):
    """A split whose samples are image files and label files of equal size, ``pairs``, opened when they are loaded.

    ``size`` (height, width) resizes on loading. Raises FileNotFoundError if a file is missing.
    """

    title: str
    """What the data set is called in errors."""

    def __init__(self, root: Path | str, split: Split, pairs: list[Pair], *, size: tuple[int, int] | None) -> None:
        self.root, self.split, self.pairs, self.size = Path(root), split, pairs, size
        self._require_files()

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> Sample:
        image_path, label_path = self.pairs[index]
        image, labels = open_image(image_path), open_labels(label_path)
        if image.shape[:2] != labels.shape:
            sizes = f"image {image.shape[1]}×{image.shape[0]}, labels {labels.shape[1]}×{labels.shape[0]}"
            raise ValueError(f"{image_path}: {sizes}: must have one size: re-copy both files")
        labels = self.class_indices(label_path, labels)
        if self.size is not None:
            image, labels = resize(image, labels, *self.size)
        return Sample(image, labels, self.sample_name(image_path))

    def class_indices(self, path: Path, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The labels ``(H, W)`` of the file ``path`` as class and ``ignore_index``; raises ValueError if they are not.

        A data set that stores other numbers overrides it.
        """
        check_labels(str(path), labels, self.num_classes, self.ignore_index)
        return labels

    def sample_name(self, image_path: Path) -> str:
        """What tells a sample from the others of its split."""
        return image_path.name

    def _require_files(self) -> None:
        missing = [path for pair in self.pairs for path in pair if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.title} at {self.root}: {len(missing)} files of the {self.split} split are missing, first "
                f"{missing[0]}: every listed file must be there: re-copy the folder"
            )


def portion(listed: Sequence[Entry], split: Split, select_fraction: float) -> list[Entry]:
    """Of a training list every ``1 / select_fraction``-th entry for ``select``, and the others for ``train``."""
    chosen = [int((i + 1) * select_fraction) > int(i * select_fraction) for i in range(len(listed))]
    return [entry for entry, is_select in zip(listed, chosen, strict=True) if is_select == (split == "select")]


def read_names(path: Path) -> list[str]:
    """The lines of a list of names without folder and extension.

    Raises ValueError if there is none, or if a line is a path from the root or stands twice.
    """
    names = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path}: 0 names: needs one a line: re-copy the list")
    wrong = [name for name in names if name.startswith("/")]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]}: must be a name without folder and extension: rewrite the list")
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise ValueError(f"{path}: {twice}: stands twice: select and train would share it: remove one")
    return names


def require_disjoint(where: str, training: Sequence[str], deciding: Collection[str], remedy: str) -> None:
    """Raise ValueError, of *where: value: rule: remedy*, if a training name is also one of the deciding list."""
    held_back = set(deciding)
    shared = [name for name in training if name in held_back]
    if shared:
        count = f"{len(shared)} of {len(training)} are in the list that decides, first {shared[0]}"
        raise ValueError(f"{where}: {count}: training must not see them: {remedy}")


def open_image(path: Path) -> NDArray[np.uint8]:
    """The image ``(H, W, 3)`` RGB at ``path``. Raises ValueError if it is damaged or has more than 8 bits a channel."""
    return _open(path, _IMAGE_MODES, "images must have 8 bits a channel: convert the file", "RGB")


def open_labels(path: Path) -> NDArray[np.uint8]:
    """The stored numbers ``(H, W)`` of the label image at ``path``: of a palette its indices, never its colours.

    Raises ValueError if it is damaged or not of one 8-bit channel.
    """
    return _open(path, _LABEL_MODES, "labels must be one 8-bit channel: re-copy the file", None)


def _open(path: Path, modes: tuple[str, ...], rule: str, convert_to: str | None) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            if image.mode not in modes:
                raise ValueError(f"{path}: mode {image.mode}: {rule}")
            return np.array(image if convert_to is None else image.convert(convert_to))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: {error}: must be a readable image: re-copy the file") from error
