"""What every data set promises, held against each of them."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuroiou_study.core.data.cached import CachedDataset, cached
from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.data.category import CategoryDataset
from neuroiou_study.core.data.cityscapes import CityscapesDataset
from neuroiou_study.core.data.dataset import SPLITS, Sample, SegmentationDataset, Split
from neuroiou_study.core.data.files import FilesDataset
from neuroiou_study.core.data.folder import FolderDataset
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.core.data.voc import VocDataset
from tests.core.data.made import make_folder

Splits = dict[Split, SegmentationDataset]
Samples = dict[Split, list[Sample]]
SIZE = (31, 42)
FRACTION = 0.5


def _made_folder(root: Path, split: Split) -> FolderDataset:
    if not (root / "images").is_dir():
        make_folder(root, [f"t{i}" for i in range(8)], ["v0", "v1"])
    return FolderDataset(root, split, ("a", "b", "c"), background=1, select_fraction=FRACTION)


def _by_category(root: Path, split: Split) -> SegmentationDataset:
    return CategoryDataset(CamvidDataset(root, split, size=SIZE, select_fraction=FRACTION), "car")


def _cached(dataset: FilesDataset) -> SegmentationDataset:
    found = cached(dataset, Path(os.environ["NEUROIOU_CACHE"]) / "images")
    assert isinstance(found, CachedDataset)
    return found


KINDS: dict[str, tuple[str | None, Callable[[Path, Split], SegmentationDataset]]] = {
    "shapes": (None, lambda root, split: ShapesDataset(split, 6, 30, 41)),
    "folder": (None, _made_folder),
    "camvid": ("camvid_small", lambda root, split: CamvidDataset(root, split, select_fraction=FRACTION)),
    "camvid resized": ("camvid_small", lambda root, split: CamvidDataset(root, split, size=SIZE)),
    "camvid by category": ("camvid_small", _by_category),
    "voc": ("voc_sample", lambda root, split: VocDataset(root, split, select_fraction=FRACTION)),
    "voc resized": ("voc_sample", lambda root, split: VocDataset(root, split, size=SIZE)),
    "voc cached": ("voc_sample", lambda root, split: _cached(VocDataset(root, split, select_fraction=FRACTION))),
    "folder cached": (None, lambda root, split: _cached(_made_folder(root, split))),
    "cityscapes": (
        "cityscapes_sample",
        lambda root, split: CityscapesDataset(root, split, size=SIZE, select_fraction=FRACTION),
    ),
}
HALVED = [name for name in KINDS if name not in ("shapes", "camvid resized", "voc resized")]


@pytest.fixture(params=KINDS, scope="module")
def splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Splits:
    fixture, make = KINDS[request.param]
    root = tmp_path_factory.mktemp("data") if fixture is None else request.getfixturevalue(fixture)
    return {split: make(root, split) for split in SPLITS}


@pytest.fixture(scope="module")
def samples(splits: Splits) -> Samples:
    """Every sample of every split, loaded once."""
    return {split: list(dataset.samples()) for split, dataset in splits.items()}


def test_samples_have_the_promised_types_and_sizes(samples: Samples) -> None:
    for image, labels, name in (sample for split in SPLITS for sample in samples[split]):
        assert image.dtype == labels.dtype == np.uint8
        assert image.shape == (*labels.shape, 3)
        assert image.std() > 5
        assert name


def test_labels_are_classes_or_void(splits: Splits, samples: Samples) -> None:
    for split, dataset in splits.items():
        for sample in samples[split]:
            assert set(np.unique(sample.labels)) <= {*range(dataset.num_classes), dataset.ignore_index}


def test_there_is_more_than_one_class(splits: Splits, samples: Samples) -> None:
    found = {int(label) for split in SPLITS for sample in samples[split] for label in np.unique(sample.labels)}
    assert len(found - {splits["train"].ignore_index}) > 1


def test_the_ignore_index_is_no_class_and_background_is_one(splits: Splits) -> None:
    for dataset in splits.values():
        assert dataset.ignore_index not in range(dataset.num_classes)
        assert dataset.background is None or dataset.background in range(dataset.num_classes)
        assert len(set(dataset.class_names)) == dataset.num_classes


def test_splits_are_disjoint_and_not_empty(splits: Splits, samples: Samples) -> None:
    images = {split: {sample.image.tobytes() for sample in samples[split]} for split in SPLITS}
    assert all(len(images[split]) == len(splits[split]) > 0 for split in SPLITS)
    assert not images["train"] & images["select"]
    assert not images["train"] & images["val"]
    assert not images["select"] & images["val"]


@pytest.mark.parametrize("splits", HALVED, indirect=True)
def test_select_is_the_share_of_the_training_list_that_is_asked_for(splits: Splits) -> None:
    assert len(splits["select"]) == (len(splits["train"]) + len(splits["select"])) // 2


def test_names_tell_the_samples_of_a_split_apart(splits: Splits, samples: Samples) -> None:
    for split, dataset in splits.items():
        assert len({sample.name for sample in samples[split]}) == len(dataset)
    assert list(splits["val"].check()) == [sample.name for sample in samples["val"]]


def test_a_sample_is_the_same_each_time(splits: Splits, samples: Samples) -> None:
    first, again = samples["train"][-1], splits["train"].load(len(splits["train"]) - 1)
    assert first.name == again.name
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)


def test_arrays_can_become_tensors_that_are_written_to(samples: Samples) -> None:
    assert samples["train"][0].image.flags.writeable
    assert samples["train"][0].labels.flags.writeable


def test_pixels_are_counted_in_every_image(splits: Splits, samples: Samples) -> None:
    dataset = splits["select"]
    pixels = dataset.pixels_per_class()
    assert pixels.shape == (len(dataset), dataset.num_classes + 1)
    for counted, (_, labels, _) in zip(pixels, samples["select"], strict=True):
        values = (*range(dataset.num_classes), dataset.ignore_index)
        assert counted.tolist() == [int(np.sum(labels == value)) for value in values]
        assert counted.sum() == labels.size
