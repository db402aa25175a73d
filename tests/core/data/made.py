"""Small files for tests of data sets."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

HEIGHT, WIDTH = 6, 8


def write(path: Path, pixels: ArrayLike) -> None:
    """An image of ``pixels``, bytes, at ``path``; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


def noise(*seed: int) -> np.ndarray:
    """``(6, 8, 3)`` pixels that ``seed`` decides."""
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def filled(value: int) -> np.ndarray:
    """``(6, 8)`` labels ``value``."""
    return np.full((HEIGHT, WIDTH), value, dtype=np.uint8)


def truncate(path: Path, kept: int = 40) -> None:
    """Keep the first ``kept`` bytes of a file."""
    path.write_bytes(path.read_bytes()[:kept])


def make_folder(root: Path, train: list[str], val: list[str]) -> None:
    """A data set as a folder: ``images/NAME.png``, ``masks/NAME.png`` with class i % 3 in image i, and the lists."""
    for i, name in enumerate(train + val):
        write(root / "images" / f"{name}.png", noise(i))
        write(root / "masks" / f"{name}.png", filled(i % 3))
    for split, names in (("train", train), ("val", val)):
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
