"""Data sets, and how their training images are varied."""

from typing import assert_never

from neuroiou_study.core.data.cached import cached as cached_dataset
from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.data.category import CategoryDataset
from neuroiou_study.core.data.cityscapes import CityscapesDataset
from neuroiou_study.core.data.dataset import SegmentationDataset, Split
from neuroiou_study.core.data.files import FilesDataset
from neuroiou_study.core.data.folder import FolderDataset
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.core.data.transforms import Augment
from neuroiou_study.core.data.voc import VocDataset
from neuroiou_study.spec.data import (
    AugmentSpec,
    CamvidSpec,
    CityscapesSpec,
    DataSpec,
    FolderSpec,
    ShapesSpec,
    VocSpec,
)
from neuroiou_study.stages.local_folder import local_folder
from neuroiou_study.stages.staged import staged

_FilesSpec = CamvidSpec | VocSpec | CityscapesSpec | FolderSpec


def dataset(spec: DataSpec, split: Split, *, cached: bool = False) -> SegmentationDataset:
    """The split of a data set; ``cached``: its images decoded once for all processes of this machine, not each time.

    Raises FileNotFoundError or ValueError if its files are not as they must be, and for one in a bucket RuntimeError
    if it cannot be read, OSError if there is no room for a copy.
    """
    whole = _dataset(spec, split) if isinstance(spec, ShapesSpec) else _files_dataset(spec, split)
    # Shapes are drawn in memory, and what they are is code, of which a cache of files would not notice a change.
    if cached and isinstance(whole, FilesDataset):
        whole = cached_dataset(whole, local_folder("images"))
    return whole if spec.category is None else CategoryDataset(whole, spec.category)


def augment(spec: AugmentSpec) -> Augment:
    """What is done to training images."""
    return Augment(flip=spec.flip, scale=spec.scale, crop=spec.crop, colour=spec.colour)


def _files_dataset(spec: _FilesSpec, split: Split) -> SegmentationDataset:
    """The split, of files on this machine. The stages' addresses are of the spec as the user wrote it."""
    here = spec.model_copy(update={"root": str(staged(spec.root))})
    try:
        return _dataset(here, split)
    except FileNotFoundError as error:
        if here.root == spec.root:
            raise
        remedy = f"it is a copy of {spec.root}: complete that, and remove {here.root} on every node"
        raise FileNotFoundError(f"{error}; {remedy}") from error


def _dataset(spec: DataSpec, split: Split) -> SegmentationDataset:
    match spec:
        case ShapesSpec():
            num_images = {"train": spec.num_train, "select": spec.num_select, "val": spec.num_val}[split]
            return ShapesDataset(split, num_images, *spec.size, seed=spec.seed)
        case CamvidSpec():
            return CamvidDataset(spec.root, split, size=spec.size, select_fraction=spec.select_fraction)
        case VocSpec():
            return _voc(spec, split)
        case CityscapesSpec():
            return CityscapesDataset(spec.root, split, size=spec.size, select_fraction=spec.select_fraction)
        case FolderSpec():
            return _folder(spec, split)
        case _:
            assert_never(spec)


def _voc(spec: VocSpec, split: Split) -> VocDataset:
    return VocDataset(
        spec.root,
        split,
        year=spec.year,
        train_list=spec.train_list,
        val_list=spec.val_list,
        labels=spec.labels,
        size=spec.size,
        select_fraction=spec.select_fraction,
    )


def _folder(spec: FolderSpec, split: Split) -> FolderDataset:
    return FolderDataset(
        spec.root,
        split,
        spec.class_names,
        ignore_index=spec.ignore_index,
        background=None if spec.background is None else spec.class_names.index(spec.background),
        size=spec.size,
        select_fraction=spec.select_fraction,
    )
