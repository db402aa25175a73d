"""What every data set promises, held against each of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.data.dataset import SPLITS, SegmentationDataset, Split, check_labels
from neuroiou_study.core.data.shapes import ShapesDataset

NAMES = ("shapes", "camvid_small", "camvid_resized")


@pytest.fixture(params=NAMES)
def splits(request: pytest.FixtureRequest) -> dict[Split, SegmentationDataset]:
    if request.param == "shapes":
        return {split: ShapesDataset(split, 12, 30, 41) for split in SPLITS}
    root: Path = request.getfixturevalue("camvid_small")
    size = (31, 42) if request.param == "camvid_resized" else None
    return {split: CamvidDataset(root, split, size=size) for split in SPLITS}


def test_samples_have_the_promised_types_and_sizes(splits: dict[Split, SegmentationDataset]) -> None:
    for dataset in splits.values():
        image, labels, name = dataset.load(0)
        assert image.dtype == labels.dtype == np.uint8
        assert image.shape == (*labels.shape, 3)
        assert name
        assert image.std() > 5


def test_labels_are_classes_or_void(splits: dict[Split, SegmentationDataset]) -> None:
    for dataset in splits.values():
        for index in range(len(dataset)):
            labels = dataset.load(index).labels
            assert set(np.unique(labels)) <= {*range(dataset.num_classes), dataset.ignore_index}


def test_the_ignore_index_is_no_class_and_background_is_one(splits: dict[Split, SegmentationDataset]) -> None:
    dataset = splits["train"]
    assert dataset.ignore_index not in range(dataset.num_classes)
    assert dataset.background is None or dataset.background in range(dataset.num_classes)
    assert len(set(dataset.class_names)) == dataset.num_classes


def test_splits_are_disjoint_and_not_empty(splits: dict[Split, SegmentationDataset]) -> None:
    images = {split: {s.load(i).image.tobytes() for i in range(len(s))} for split, s in splits.items()}
    assert all(len(images[split]) == len(splits[split]) > 0 for split in SPLITS)
    assert not images["train"] & images["select"]
    assert not images["train"] & images["val"]
    assert not images["select"] & images["val"]


def test_names_tell_the_samples_of_a_split_apart(splits: dict[Split, SegmentationDataset]) -> None:
    for dataset in splits.values():
        assert len(set(dataset.check())) == len(dataset)


def test_a_sample_is_the_same_each_time(splits: dict[Split, SegmentationDataset]) -> None:
    first, again = splits["train"].load(3), splits["train"].load(3)
    assert first.name == again.name
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)


def test_arrays_can_become_tensors_that_are_written_to(splits: dict[Split, SegmentationDataset]) -> None:
    sample = splits["train"].load(0)
    assert sample.image.flags.writeable
    assert sample.labels.flags.writeable


def test_pixels_per_class_counts_every_pixel_of_every_image(splits: dict[Split, SegmentationDataset]) -> None:
    dataset = splits["select"]
    pixels = dataset.pixels_per_class()
    assert pixels.shape == (len(dataset), dataset.num_classes + 1)
    assert pixels.dtype == torch.int64
    for index in range(len(dataset)):
        labels = dataset.load(index).labels
        assert pixels[index, 1] == np.sum(labels == 1)
        assert pixels[index, -1] == np.sum(labels == dataset.ignore_index)
        assert pixels[index].sum() == labels.size


def test_a_label_out_of_range_is_named_with_its_place() -> None:
    labels = np.zeros((3, 4), dtype=np.uint8)
    labels[2, 1] = 7
    with pytest.raises(ValueError, match=r"x\.png: label 7 at row 2, column 1: classes are 0 to 5 and 255 is void"):
        check_labels("x.png", labels, 6, 255)
    check_labels("x.png", labels, 8, 255)
    check_labels("x.png", labels, 6, 7)
