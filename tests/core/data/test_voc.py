"""PASCAL VOC on the real sample and on small folders made here, whole and damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neuroiou_study.core.data.dataset import Split
from neuroiou_study.core.data.voc import VocDataset
from tests.core.data.made import filled, noise, truncate, write

LISTS = {"train": ["a", "b", "c", "d"], "val": ["e", "f"], "seg11valid": ["f"], "train_aug": ["a", "e"]}
PERCENT: dict[str, dict[str, tuple[float, int]]] = {
    "train": {
        "background": (58.468, 28),
        "bird": (0.015, 2),
        "boat": (0.019, 1),
        "bottle": (0.089, 3),
        "bus": (2.244, 1),
        "car": (1.927, 3),
        "cat": (8.972, 9),
        "chair": (3.194, 5),
        "cow": (2.235, 2),
        "diningtable": (2.106, 3),
        "dog": (7.052, 9),
        "horse": (1.483, 2),
        "person": (4.305, 8),
        "pottedplant": (0.093, 2),
        "sheep": (2.714, 4),
        "sofa": (2.461, 4),
        "tvmonitor": (2.621, 2),
    },
    "val": {
        "background": (62.658, 26),
        "bicycle": (0.909, 2),
        "bird": (0.043, 1),
        "bottle": (0.768, 2),
        "bus": (0.300, 1),
        "car": (2.240, 2),
        "cat": (6.707, 9),
        "chair": (1.250, 4),
        "cow": (1.373, 4),
        "diningtable": (0.864, 2),
        "dog": (8.964, 9),
        "horse": (1.332, 2),
        "motorbike": (1.870, 2),
        "person": (6.742, 7),
        "pottedplant": (0.738, 3),
        "sheep": (0.586, 2),
        "sofa": (2.314, 3),
        "tvmonitor": (0.341, 2),
    },
}
"""Percent of the valid pixels and number of images with the class; *measured* by whoever made the sample."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six images of 8 × 6 in the layout of VOC 2012, image i labelled i everywhere; VOCdevkit is in the folder."""
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for i, name in enumerate("abcdef"):
        write(folder / "JPEGImages" / f"{name}.jpg", noise(i))
        write(folder / "SegmentationClass" / f"{name}.png", filled(i))
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    for name, ids in LISTS.items():
        (folder / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("\n".join(ids))
    return tmp_path


def ids(dataset: VocDataset) -> list[str]:
    return [image.stem for image, _ in dataset.pairs]


@pytest.mark.parametrize(("split", "void_percent"), [("train", 6.759), ("val", 8.469)])
def test_the_sample_has_the_frequencies_that_its_makers_counted(
    voc_sample: Path, split: Split, void_percent: float
) -> None:
    dataset = VocDataset(voc_sample, split, select_fraction=0.0)
    summary = dataset.summary()
    assert summary.num_images == {"train": 28, "val": 26}[split]
    found = zip(dataset.class_names, summary.class_fractions, summary.images_with_class, strict=True)
    percent = {name: (round(100 * share, 3), images) for name, share, images in found if images}
    assert percent == PERCENT[split]
    # Theirs is of the valid pixels.
    assert 100 * summary.void_fraction / (1 - summary.void_fraction) == pytest.approx(void_percent, abs=5e-4)
    assert len(summary.sizes) > 1


def test_labels_are_the_classes_whose_colours_are_shown(voc_sample: Path) -> None:
    """The colours are *cited*: the colour map of VOC's development kit."""
    sample = VocDataset(voc_sample, "val").load(0)
    assert sample.name == "2007_000129.jpg"
    with Image.open(voc_sample / "VOCdevkit/VOC2012/SegmentationClass/2007_000129.png") as image:
        shown = np.array(image.convert("RGB"))
    colours = {0: (0, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128), 255: (224, 224, 192)}
    assert {int(label) for label in np.unique(sample.labels)} == set(colours)
    for label, colour in colours.items():
        assert np.array_equal(sample.labels == label, (shown == colour).all(-1))


@pytest.mark.parametrize("below", ["", "VOCdevkit"])
def test_the_root_is_vocdevkit_or_its_parent(root: Path, below: str) -> None:
    dataset = VocDataset(root / below, "val")
    assert ids(dataset) == ["e", "f"]
    assert (dataset.load(1).labels == 5).all()
    assert np.abs(dataset.load(1).image.astype(int) - noise(5)).mean() < 80


def test_select_is_an_evenly_spaced_part_of_the_training_list(root: Path) -> None:
    assert ids(VocDataset(root, "select", select_fraction=0.5)) == ["b", "d"]
    assert ids(VocDataset(root, "train", select_fraction=0.5)) == ["a", "c"]


def test_year_lists_and_label_folder_can_be_chosen(root: Path) -> None:
    assert ids(VocDataset(root, "val", val_list="seg11valid")) == ["f"]
    assert ids(VocDataset(root, "train", train_list="train_aug", val_list="seg11valid", select_fraction=0)) == [
        "a",
        "e",
    ]
    folder = root / "VOCdevkit" / "VOC2012"
    for name in "abcdef":
        write(folder / "SegmentationClassAug" / f"{name}.png", filled(20))
    assert (VocDataset(root, "val", labels="SegmentationClassAug").load(0).labels == 20).all()
    folder.rename(folder.with_name("VOC2011"))
    assert len(VocDataset(root, "val", year="2011")) == 2


@pytest.mark.parametrize("split", ["train", "select", "val"])
def test_training_images_that_decide_are_refused(root: Path, split: Split) -> None:
    message = (
        "data.train_list: train_aug with data.val_list val: 1 of 2 are in the list that decides, first e: .*seg11valid"
    )
    with pytest.raises(ValueError, match=message):
        VocDataset(root, split, train_list="train_aug")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_list": "trainaug"}, r"data\.train_list: trainaug: .*there: seg11valid, train, train_aug, val\)"),
        ({"val_list": "test"}, r"data\.val_list: test: must be a list .*choose one or add test\.txt"),
        ({"year": "2011"}, r"data\.root: .*with VOC2011 or VOCdevkit/VOC2011: set data\.root to it, or data\.year"),
        ({"labels": "Masks"}, r"no folder Masks: .*there: ImageSets, JPEGImages, SegmentationClass\).*data\.labels"),
    ],
)
def test_a_folder_or_list_that_is_not_there_is_named_with_what_is(
    root: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FileNotFoundError, match=message):
        VocDataset(root, "train", **options)


def test_missing_files_are_counted_and_the_first_is_named(root: Path) -> None:
    (root / "VOCdevkit/VOC2012/JPEGImages/e.jpg").unlink()
    (root / "VOCdevkit/VOC2012/SegmentationClass/f.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"PASCAL VOC at .*: 2 files of the val split .*first .*e\.jpg"):
        VocDataset(root, "val")
    assert len(VocDataset(root, "train")) == 4


def test_damaged_files_are_named(root: Path) -> None:
    folder = root / "VOCdevkit/VOC2012/SegmentationClass"
    write(folder / "e.png", filled(21))
    truncate(folder / "f.png")
    dataset = VocDataset(root, "val")
    with pytest.raises(ValueError, match=r"e\.png: label 21 at row 0, column 0: classes are 0 to 20 and 255 is void"):
        dataset.load(0)
    with pytest.raises(ValueError, match=r"f\.png: .*must be a readable image"):
        dataset.load(1)


def test_background_is_left_out_of_the_mean_without_it(root: Path) -> None:
    background = VocDataset(root, "val").background
    assert background is not None
    assert VocDataset.class_names[background] == "background"


def test_labels_in_colours_are_refused(root: Path) -> None:
    write(root / "VOCdevkit/VOC2012/SegmentationClass/e.png", noise(0))
    with pytest.raises(ValueError, match=r"e\.png: mode RGB: labels must be one 8-bit channel"):
        VocDataset(root, "val").load(0)
