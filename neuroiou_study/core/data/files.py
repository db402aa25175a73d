"""What data sets of files have in common: lists, portions, image files and label files, and errors that name them."""

import os
import stat
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import cache
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
_FORMATS = ("PNG", "JPEG")
"""What is opened, whatever a file is called: a decoder of PIL for another format may start a program."""
MAX_PIXELS = 1 << 27
"""Of an image, 400 MB when it is decoded; *assumed*: no camera has more. A larger one is not decoded."""
_DAMAGED = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError),
    *(AttributeError, AssertionError, struct.error, zlib.error, Image.DecompressionBombError),
)
"""What PIL raises for a damaged file. *Measured* with 210 000 garbled ones: OSError, SyntaxError, ValueError,
AssertionError and DecompressionBombError; the others stand in its source."""


class FilesDataset(SegmentationDataset):
    """A split whose samples are image files and label files of equal size, ``pairs``, opened when they are loaded.

    ``size`` (height, width) resizes on loading. Raises FileNotFoundError if a file is missing, and ValueError if one is
    outside of ``root``, be it by a symbolic link.
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
        missing = missing_files(
            f"{self.title} at {self.root}", self.root, [path for pair in self.pairs for path in pair]
        )
        if missing:
            raise FileNotFoundError(
                f"{self.title} at {self.root}: {len(missing)} files of the {self.split} split are missing, first "
                f"{missing[0]}: every listed file must be there: re-copy the folder"
            )


def portion(listed: Sequence[Entry], split: Split, select_fraction: float) -> list[Entry]:
    """Of a training list every ``1 / select_fraction``-th entry for ``select``, and the others for ``train``."""
    chosen = [int((i + 1) * select_fraction) > int(i * select_fraction) for i in range(len(listed))]
    return [entry for entry, is_select in zip(listed, chosen, strict=True) if is_select == (split == "select")]


def missing_files(where: str, root: Path, paths: Iterable[Path]) -> list[Path]:
    """Those of ``paths`` that are no files. Raises ValueError at the first that is outside of ``root``.

    A path leaves ``root`` as it is written or by a symbolic link; ``root`` itself may be one. It costs one look at each
    file and one at each folder.
    """
    home = os.path.realpath(root)

    @cache
    def is_inside(path: str) -> bool:
        try:
            return os.path.commonpath([home, os.path.realpath(path)]) == home
        except ValueError:  # no path: it has a zero byte
            return False

    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        mode = _kind(path)
        if name == ".." or not is_inside(folder) or (stat.S_ISLNK(mode) and not is_inside(os.fspath(path))):
            rule = "must be a file in that folder, also where links lead to: correct the list, or copy the file there"
            raise ValueError(f"{where}: {path}: {rule}")
        if not (stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and is_file(path))):
            missing.append(path)
    return missing


def is_file(path: Path) -> bool:
    """Is there such a file? No if there cannot be, because the name is too long or has a zero byte."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _kind(path: Path) -> int:
    """What kind of file ``path`` itself is; 0 if there is none, or cannot be one of that name."""
    try:
        return path.lstat().st_mode
    except (OSError, ValueError):
        return 0


def read_lines(root: Path, path: Path) -> list[str]:
    """The lines that are not empty of the list ``path``, a file in ``root``.

    Raises FileNotFoundError or ValueError if it is none, or not in UTF-8.
    """
    if missing_files("data.root", root, [path]):
        raise FileNotFoundError(f"{path}: not there: must be a list: re-copy the folder")
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}: must be text in UTF-8: re-copy the list") from error


def require_relative(where: str, entries: Iterable[str]) -> None:
    """Raise ValueError at the first entry of a list that is no way down from the folder that it stands for."""
    for entry in entries:
        if entry.startswith("/") or ".." in entry.split("/"):
            rule = "must lie in the folder of the data set: correct the list"
            raise ValueError(f"{where}: {entry}: {rule}")


def read_names(root: Path, path: Path) -> list[str]:
    """The lines of a list of names without folder and extension, a file in ``root``.

    Raises ValueError if there is none, or if a line is a path from the root, leads out of the folder or stands twice.
    """
    names = read_lines(root, path)
    if not names:
        raise ValueError(f"{path}: 0 names: needs one a line: re-copy the list")
    wrong = [name for name in names if name.startswith("/")]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]}: must be a name without folder and extension: rewrite the list")
    require_relative(str(path), names)
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
        with Image.open(path, formats=_FORMATS) as image:
            mode, (width, height) = image.mode, image.size
            if mode in modes and width * height <= MAX_PIXELS:
                return np.array(image if convert_to is None else image.convert(convert_to))
    except _DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path}: {reason}: must be a readable image: re-copy the file") from error
    if mode not in modes:
        raise ValueError(f"{path}: mode {mode}: {rule}")
    raise ValueError(f"{path}: {width}×{height}: must have at most {MAX_PIXELS} pixels: re-copy or shrink the image")
