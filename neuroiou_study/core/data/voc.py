"""PASCAL VOC segmentation in the layout of VOCdevkit: 20 classes and background, 255 is void."""

from pathlib import Path

from neuroiou_study.core.data.dataset import Split
from neuroiou_study.core.data.files import FilesDataset, portion, read_names, require_disjoint


class VocDataset(FilesDataset):
    """A split of VOC ``year`` at ``root``, which is VOCdevkit or its parent.

    ``val`` is ``val_list``; ``select`` is an evenly spaced ``select_fraction`` of ``train_list``, ``train`` the rest.
    ``labels`` is the folder of the label images, SegmentationClassAug for those of SBD. Raises FileNotFoundError if a
    folder, a list or a listed file is missing, and ValueError if a training image is also in ``val_list``, as hundreds
    of SBD's are: the list seg11valid leaves those out (*cited*: FCN, Long et al. 2015).
    """

    title = "PASCAL VOC"
    class_names = (
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    )
    ignore_index = 255
    background = 0

    def __init__(
        self,
        root: Path | str,
        split: Split,
        *,
        year: str = "2012",
        train_list: str = "train",
        val_list: str = "val",
        labels: str = "SegmentationClass",
        size: tuple[int, int] | None = None,
        select_fraction: float = 0.2,
    ) -> None:
        folder = _folder(Path(root), year)
        images, masks = _subfolder(folder, "JPEGImages"), _subfolder(folder, labels)
        training, deciding = (
            _read_list(Path(root), folder, key, name)
            for key, name in (("train_list", train_list), ("val_list", val_list))
        )
        remedy = "set data.val_list to seg11valid or data.train_list to another list"
        require_disjoint(f"data.train_list: {train_list} with data.val_list {val_list}", training, deciding, remedy)
        ids = deciding if split == "val" else portion(training, split, select_fraction)
        super().__init__(root, split, [(images / f"{i}.jpg", masks / f"{i}.png") for i in ids], size=size)


def _folder(root: Path, year: str) -> Path:
    name = f"VOC{year}"
    for folder in (root / name, root / "VOCdevkit" / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"data.root: {root}: must be a folder with {name} or VOCdevkit/{name}: set data.root to it, or data.year"
    )


def _subfolder(folder: Path, name: str) -> Path:
    if not (folder / name).is_dir():
        there = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir())) or "none"
        raise FileNotFoundError(
            f"{folder}: no folder {name}: must hold images and labels (folders there: {there}): "
            "re-copy the folder or set data.labels"
        )
    return folder / name


def _read_list(root: Path, folder: Path, key: str, name: str) -> list[str]:
    lists = folder / "ImageSets" / "Segmentation"
    if not (lists / f"{name}.txt").is_file():
        there = ", ".join(sorted(path.stem for path in lists.glob("*.txt"))) or "none"
        raise FileNotFoundError(
            f"data.{key}: {name}: must be a list in {lists} (lists there: {there}): choose one or add {name}.txt"
        )
    return read_names(root, lists / f"{name}.txt")
