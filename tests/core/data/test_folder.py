"""A data set as a folder, whole and damaged."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroiou_study.core.data.dataset import Split
from neuroiou_study.core.data.folder import FolderDataset
from tests.core.data.made import filled, make_folder, noise, truncate, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_folder(tmp_path, ["a", "b", "c", "d"], ["e", "sub/f.1"])
    return tmp_path


def folder(root: Path, split: Split, *, ignore_index: int = 255, size: tuple[int, int] | None = None) -> FolderDataset:
    names = ("sky", "road", "car")
    return FolderDataset(root, split, names, ignore_index=ignore_index, size=size, select_fraction=0.5)


def test_images_and_masks_are_read_as_they_are_stored(root: Path) -> None:
    dataset = folder(root, "val")
    assert list(dataset.check()) == ["e.png", "sub/f.1.png"]
    assert np.array_equal(dataset.load(1).image, noise(5))
    assert np.array_equal(dataset.load(1).labels, filled(2))


def test_select_is_an_evenly_spaced_part_of_the_training_list(root: Path) -> None:
    assert list(folder(root, "train").check()) == ["a.png", "c.png"]
    assert list(folder(root, "select").check()) == ["b.png", "d.png"]


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png"])
def test_each_image_may_have_another_extension(root: Path, suffix: str) -> None:
    (root / "images" / "e.png").unlink()
    Image.fromarray(noise(4)).save(root / "images" / f"e.{suffix}")
    assert folder(root, "val").load(0).name == f"e.{suffix}"
    assert len(folder(root, "train")) == 2


def test_two_images_of_one_name_are_refused(root: Path) -> None:
    Image.fromarray(noise(4)).save(root / "images" / "e.jpg")
    with pytest.raises(ValueError, match=r"e\.jpg: also there as e\.png: a name needs one image"):
        folder(root, "val")


def test_samples_are_resized_on_loading(root: Path) -> None:
    assert folder(root, "val", size=(3, 4)).load(0).labels.shape == (3, 4)


def test_void_has_the_value_that_is_given(root: Path) -> None:
    write(root / "masks" / "e.png", filled(7))
    assert (folder(root, "val", ignore_index=7).load(0).labels == 7).all()
    with pytest.raises(ValueError, match=r"e\.png: label 7 at row 0, column 0: classes are 0 to 2 and 255 is void"):
        folder(root, "val").load(0)


def test_a_missing_list_says_which_setting_to_change(root: Path) -> None:
    (root / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=rf"data\.root: {root}: .*val\.txt is missing: set data\.root"):
        folder(root, "val")


def test_missing_files_are_counted_and_the_first_is_named(root: Path) -> None:
    (root / "images" / "e.png").unlink()
    (root / "masks" / "sub" / "f.1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 files of the val split are missing, first .*/e\.\{jpg,jpeg,png\}"):
        folder(root, "val")


def test_a_name_in_both_lists_is_refused(root: Path) -> None:
    (root / "train.txt").write_text("a\nb\ne\n")
    with pytest.raises(ValueError, match=r"train\.txt: 1 of 3 are in the list that decides, first e: .*remove them"):
        folder(root, "train")


def test_damaged_and_unequal_files_are_named(root: Path) -> None:
    truncate(root / "images" / "e.png")
    write(root / "masks" / "sub" / "f.1.png", np.zeros((5, 7)))
    dataset = folder(root, "val")
    with pytest.raises(ValueError, match=r"images/e\.png: .*must be a readable image"):
        dataset.load(0)
    with pytest.raises(ValueError, match=r"f\.1\.png: image 8×6, labels 7×5: must have one size"):
        dataset.load(1)
