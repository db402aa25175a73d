"""Cityscapes on the real sample and on small folders made here, whole and damaged."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroiou_study.core.data.cityscapes import CityscapesDataset
from neuroiou_study.core.data.dataset import Sample, Split
from tests.core.data.made import filled, noise, truncate, write

TRAIN_IDS = {
    "aachen_000000_000019": {0, 1, 2, 5, 7, 8, 9, 10, 11, 12, 13, 18},
    "aachen_000004_000019": {0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13, 17, 18},
    "frankfurt_000000_000294": {0, 1, 2, 4, 5, 7, 8, 10, 11, 13},
}
"""*Measured* by whoever made the sample."""
CLASS_OF_LABEL_ID = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""*Cited*: cityscapesScripts, labels.py."""


def put(root: Path, folder: str, city: str, image_id: str, labels: np.ndarray) -> Path:
    """An image and its labels; returns where the labels are."""
    write(root / "leftImg8bit" / folder / city / f"{image_id}_leftImg8bit.png", noise(len(image_id)))
    path = root / "gtFine" / folder / city / f"{image_id}_gtFine_labelIds.png"
    write(path, labels)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for city, number in (("ulm", 1), ("bonn", 2), ("bonn", 1), ("ulm", 0)):
        put(tmp_path, "train", city, f"{city}_{number}", filled(7))
    put(tmp_path, "val", "jena", "jena_0", filled(33))
    return tmp_path


@pytest.fixture(scope="module")
def sample(cityscapes_sample: Path) -> dict[str, Sample]:
    """Every image of the real sample by its id."""
    splits: tuple[Split, Split] = ("train", "val")
    datasets = (CityscapesDataset(cityscapes_sample, split, select_fraction=0.0) for split in splits)
    return {found.name.removesuffix("_leftImg8bit.png"): found for dataset in datasets for found in dataset.samples()}


def test_the_sample_has_the_train_ids_that_its_makers_counted(sample: dict[str, Sample]) -> None:
    found = {name: {int(label) for label in np.unique(labels)} for name, (_, labels, _) in sample.items()}
    assert {name: labels - {255} for name, labels in found.items()} == TRAIN_IDS
    assert all(255 in labels for labels in found.values())


def test_the_sample_agrees_with_the_instances_of_its_makers(sample: dict[str, Sample], cityscapes_sample: Path) -> None:
    """Instance numbers hold the label id too, so that they are another source of the same pixels."""
    for path in sorted(cityscapes_sample.glob("gtFine/*/*/*_instanceIds.png")):
        with Image.open(path) as image:
            stored = np.array(image).astype(int)
        label_ids = np.where(stored >= 1000, stored // 1000, stored)
        labels = sample[path.name.removesuffix("_gtFine_instanceIds.png")].labels
        for label_id, name in CLASS_OF_LABEL_ID.items():
            assert np.array_equal(labels == CityscapesDataset.class_names.index(name), label_ids == label_id)


def test_label_ids_become_classes_in_the_published_order(root: Path) -> None:
    assert tuple(CLASS_OF_LABEL_ID.values()) == CityscapesDataset.class_names
    labels = np.zeros((6, 8), dtype=np.uint8)
    labels.flat[:34] = np.arange(34)
    labels.flat[34] = 255
    put(root, "val", "jena", "jena_0", labels)
    found = CityscapesDataset(root, "val").load(0).labels.flat
    for label_id in range(34):
        name = CLASS_OF_LABEL_ID.get(label_id)
        assert found[label_id] == (255 if name is None else CityscapesDataset.class_names.index(name))
    assert found[34] == 255


def test_images_are_in_the_order_of_their_names_and_select_is_evenly_spaced(root: Path) -> None:
    select = CityscapesDataset(root, "select", select_fraction=0.5)
    train = CityscapesDataset(root, "train", select_fraction=0.5)
    assert list(train.check()) == ["bonn_1_leftImg8bit.png", "ulm_0_leftImg8bit.png"]
    assert list(select.check()) == ["bonn_2_leftImg8bit.png", "ulm_1_leftImg8bit.png"]
    assert list(CityscapesDataset(root, "val").check()) == ["jena_0_leftImg8bit.png"]


def test_samples_are_resized_on_loading(root: Path) -> None:
    image, labels, _ = CityscapesDataset(root, "val", size=(3, 4)).load(0)
    assert image.shape == (3, 4, 3)
    assert labels.tolist() == [[18] * 4] * 3


@pytest.mark.parametrize("label_id", [34, 254])
def test_a_label_id_that_does_not_exist_is_named(root: Path, label_id: int) -> None:
    labels = filled(7)
    labels[4, 3] = label_id
    path = put(root, "val", "jena", "jena_0", labels)
    with pytest.raises(ValueError, match=f"{path}: label id {label_id} at row 4, column 3: label ids are 0 to 33"):
        CityscapesDataset(root, "val").load(0)


def test_damaged_and_missing_files_are_named(root: Path) -> None:
    path = root / "gtFine/val/jena/jena_0_gtFine_labelIds.png"
    truncate(path)
    with pytest.raises(ValueError, match=f"{path}: .*must be a readable image"):
        CityscapesDataset(root, "val").load(0)
    path.unlink()
    with pytest.raises(
        FileNotFoundError, match=f"Cityscapes at .*: 1 files of the val split are missing, first {path}"
    ):
        CityscapesDataset(root, "val")


def test_a_folder_without_images_says_which_setting_to_change(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"data\.root: .*leftImg8bit/val/<city>/.*\(Cityscapes\): set data\.root"
    ):
        CityscapesDataset(tmp_path, "val")
