"""The CamVid loader on a folder made here, whole and damaged, and on the real one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroiou_study.core.data.camvid import CamvidDataset

NUM_TRAIN = 10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten training and two validation images of 8 × 6 in the SegNet layout, image i labelled i everywhere."""
    for split, count in (("train", NUM_TRAIN), ("val", 2)):
        for folder in (split, f"{split}annot"):
            (tmp_path / folder).mkdir()
        for i in range(count):
            rng = np.random.default_rng((count, i))
            _write(tmp_path / split / f"{i}.png", rng.integers(0, 256, (6, 8, 3)))
            _write(tmp_path / f"{split}annot" / f"{i}.png", np.full((6, 8), i))
        lines = [f"/SegNet/CamVid/{split}/{i}.png /SegNet/CamVid/{split}annot/{i}.png\n" for i in range(count)]
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    return tmp_path


def _write(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def test_images_and_labels_are_read_as_they_are_stored(root: Path) -> None:
    sample = CamvidDataset(root, "val").load(1)
    assert sample.name == "1.png"
    assert np.array_equal(sample.image, np.random.default_rng((2, 1)).integers(0, 256, (6, 8, 3)))
    assert np.array_equal(sample.labels, np.full((6, 8), 1))


@pytest.mark.parametrize(("fraction", "expected"), [(0.2, 2), (0.5, 5), (0.3, 3), (0.0, 0)])
def test_select_is_an_evenly_spaced_part_of_the_training_list(root: Path, fraction: float, expected: int) -> None:
    select = CamvidDataset(root, "select", select_fraction=fraction)
    train = CamvidDataset(root, "train", select_fraction=fraction)
    chosen = [int(path.stem) for path, _ in select.pairs]
    assert len(chosen) == expected
    assert sorted(chosen + [int(path.stem) for path, _ in train.pairs]) == list(range(NUM_TRAIN))
    gaps = np.diff(chosen)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_samples_are_resized_on_loading(root: Path) -> None:
    sample = CamvidDataset(root, "train", size=(3, 4)).load(0)
    assert sample.image.shape == (3, 4, 3)
    assert sample.labels.shape == (3, 4)


def test_palette_labels_are_read_as_indices(root: Path) -> None:
    labels = Image.fromarray(np.full((6, 8), 4, dtype=np.uint8))
    labels.putpalette([0, 0, 0] * 4 + [200, 30, 40])
    assert labels.mode == "P"
    labels.save(root / "valannot" / "0.png")
    assert (CamvidDataset(root, "val").load(0).labels == 4).all()


def test_a_missing_folder_says_which_setting_to_change(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data\.root: .*nowhere: must be a folder with train\.txt"):
        CamvidDataset(tmp_path / "nowhere", "train")


def test_missing_files_are_counted_and_the_first_is_named(root: Path) -> None:
    (root / "val" / "1.png").unlink()
    (root / "valannot" / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 files of the val split are missing, first .*val/1\.png"):
        CamvidDataset(root, "val")
    assert len(CamvidDataset(root, "train")) == 8


@pytest.mark.parametrize("folder", ["val", "valannot"])
@pytest.mark.parametrize("kept", [0, 10, 30, 45])
def test_a_truncated_image_is_named(root: Path, folder: str, kept: int) -> None:
    path = root / folder / "1.png"
    path.write_bytes(path.read_bytes()[:kept])
    dataset = CamvidDataset(root, "val")
    assert dataset.load(0).name == "0.png"
    with pytest.raises(ValueError, match=f"{path}: .*: must be a readable image: re-copy the file"):
        dataset.load(1)


def test_damaged_bytes_inside_an_image_are_named(root: Path) -> None:
    path = root / "val" / "1.png"
    content = bytearray(path.read_bytes())
    content[50:80] = bytes(30)
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=f"{path}: .*: must be a readable image: re-copy the file"):
        CamvidDataset(root, "val").load(1)


def test_check_reads_every_sample_and_stops_at_the_bad_one(root: Path) -> None:
    path = root / "valannot" / "1.png"
    path.write_bytes(path.read_bytes()[:40])
    checked = CamvidDataset(root, "val").check()
    assert next(checked) == "0.png"
    with pytest.raises(ValueError, match=str(path)):
        next(checked)


def test_a_label_out_of_range_names_image_value_and_place(root: Path) -> None:
    labels = np.zeros((6, 8))
    labels[4, 3] = 12
    path = root / "valannot" / "0.png"
    _write(path, labels)
    with pytest.raises(ValueError, match=f"{path}: label 12 at row 4, column 3: classes are 0 to 10 and 11 is void"):
        CamvidDataset(root, "val").load(0)


def test_sizes_that_differ_are_named(root: Path) -> None:
    _write(root / "valannot" / "0.png", np.zeros((5, 7)))
    with pytest.raises(ValueError, match=r"val/0\.png: image 8×6, labels 7×5: must have one size"):
        CamvidDataset(root, "val").load(0)


def test_colour_labels_are_refused(root: Path) -> None:
    _write(root / "valannot" / "0.png", np.zeros((6, 8, 3)))
    with pytest.raises(ValueError, match="mode RGB: labels must be one 8-bit channel"):
        CamvidDataset(root, "val").load(0)


@pytest.mark.parametrize("content", ["", "\n", "val/0.png\n", "val/0.png valannot/0.png 3\n"])
def test_a_malformed_list_is_named(root: Path, content: str) -> None:
    (root / "val.txt").write_text(content)
    with pytest.raises(ValueError, match=r"val\.txt: .*must be IMAGE LABEL"):
        CamvidDataset(root, "val")


def test_lists_without_the_published_prefix_are_read_too(root: Path) -> None:
    (root / "val.txt").write_text("val/1.png valannot/1.png\n")
    assert CamvidDataset(root, "val").load(0).name == "1.png"


def test_the_real_lists_have_the_published_sizes(camvid: Path) -> None:
    train, select, val = (CamvidDataset(camvid, split) for split in ("train", "select", "val"))
    assert (len(train) + len(select), len(val)) == (367, 101)
    assert len(select) == 73
    assert val.load(0).image.shape == (360, 480, 3)
