"""No list and no link leads a data set out of its folder."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from neuroiou_study.core.data.camvid import CamvidDataset
from neuroiou_study.core.data.cityscapes import CityscapesDataset
from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.data.files import missing_files
from neuroiou_study.core.data.folder import FolderDataset
from neuroiou_study.core.data.voc import VocDataset
from tests.core.data.made import filled, make_folder, noise, write

TO_ROOT = "must lie in the folder of the data set: correct the list"
IN_ROOT = "must be a file in that folder, also where links lead to"
CLASSES = ("a", "b", "c")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of every kind in one folder, with an image and a list beside it that none of them may open."""
    root = tmp_path / "root"
    make_folder(root, ["1", "2"], ["3"])
    (root / "train.txt").rename(root / "names.txt")
    for folder in ("JPEGImages", "SegmentationClass"):
        write(root / "VOC2012" / folder / "1.png", filled(1))
        (root / "VOC2012" / folder / "1.png").rename(root / "VOC2012" / folder / "1.jpg")
        write(root / "VOC2012" / folder / "1.png", filled(1))
    _list(root / "VOC2012/ImageSets/Segmentation/train.txt", "")
    _list(root / "VOC2012/ImageSets/Segmentation/val.txt", "1")
    write(root / "leftImg8bit/val/x/1_leftImg8bit.png", noise(1))
    write(root / "gtFine/val/x/1_gtFine_labelIds.png", filled(1))
    write(tmp_path / "outside" / "secret.png", filled(1))
    _list(tmp_path / "outside" / "secret.txt", "root:x:0:0")
    (root / "names.txt").rename(root / "train.txt")
    return root


def _list(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content + "\n")


def _camvid(root: Path) -> SegmentationDataset:
    return CamvidDataset(root, "val")


def _folder(root: Path) -> SegmentationDataset:
    return FolderDataset(root, "val", CLASSES)


def _voc(root: Path) -> SegmentationDataset:
    _list(root / "VOC2012/ImageSets/Segmentation/train.txt", "other")
    return VocDataset(root, "val")


@pytest.mark.parametrize("outside", ["../outside/secret.png", "images/../../outside/secret.png", "/etc/hostname", ".."])
@pytest.mark.parametrize("prefix", ["", "/SegNet/CamVid/"])
def test_an_entry_of_camvid_s_list_stays_in_the_root(root: Path, outside: str, prefix: str) -> None:
    (root / "val.txt").write_text(f"{prefix}images/1.png {prefix}{outside}\n")
    with pytest.raises(ValueError, match=rf"^{root}/val\.txt: {outside}: {TO_ROOT}"):
        _camvid(root)


@pytest.mark.parametrize("name", ["../../outside/secret", "a/../../../outside/secret", ".."])
def test_a_name_of_a_list_stays_in_the_root(root: Path, name: str) -> None:
    _list(root / "val.txt", name)
    with pytest.raises(ValueError, match=rf"^{root}/val\.txt: {name}: {TO_ROOT}"):
        _folder(root)
    path = root / "VOC2012/ImageSets/Segmentation/val.txt"
    _list(path, name)
    with pytest.raises(ValueError, match=rf"^{path}: {name}: {TO_ROOT}"):
        _voc(root)


def test_a_list_and_a_folder_of_labels_stay_in_the_root(root: Path) -> None:
    _list(root / "VOC2012/ImageSets/Segmentation/train.txt", "other")
    with pytest.raises(ValueError, match=rf"^data\.root: .*/outside/secret\.txt: {IN_ROOT}") as raised:
        VocDataset(root, "val", val_list="../../../../outside/secret")
    assert "root:x" not in str(raised.value)
    with pytest.raises(ValueError, match=rf"^PASCAL VOC at {root}: .*/outside/1\.png: {IN_ROOT}"):
        VocDataset(root, "val", labels="../../outside")


@pytest.mark.parametrize("kind", [_camvid, _folder])
def test_a_list_that_is_a_link_out_of_the_root_is_not_read(
    root: Path, kind: Callable[[Path], SegmentationDataset]
) -> None:
    (root / "val.txt").unlink()
    (root / "val.txt").symlink_to(root.parent / "outside/secret.txt")
    with pytest.raises(ValueError, match=rf"^data\.root: {root}/val\.txt: {IN_ROOT}") as raised:
        kind(root)
    assert "root:x" not in str(raised.value)


@pytest.mark.parametrize("link", ["masks/3.png", "masks"])
def test_a_file_or_folder_that_is_a_link_out_of_the_root_is_refused(root: Path, link: str) -> None:
    moved = root.parent / "outside" / "moved"
    (root / link).rename(moved)
    (root / link).symlink_to(moved)
    with pytest.raises(ValueError, match=rf"^Data set at {root}: {root}/masks/3\.png: {IN_ROOT}"):
        _folder(root)


def test_cityscapes_finds_nothing_outside(root: Path) -> None:
    assert len(CityscapesDataset(root, "val")) == 1
    (root / "leftImg8bit/val/x").rename(root.parent / "outside/x")
    (root / "leftImg8bit/val/x").symlink_to(root.parent / "outside/x")
    with pytest.raises(ValueError, match=IN_ROOT):
        CityscapesDataset(root, "val")


def test_a_root_that_is_a_link_and_links_inside_of_it_are_followed(root: Path) -> None:
    (root / "masks/3.png").rename(root / "masks/moved.png")
    (root / "masks/3.png").symlink_to("moved.png")
    (root / "images").rename(root / "pictures")
    (root / "images").symlink_to(root / "pictures")
    (root.parent / "link").symlink_to(root)
    assert _folder(root.parent / "link").load(0).name == "3.png"


def test_what_is_no_file_is_missing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "gone.png").symlink_to(root / "nowhere.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    strange = [root / "gone.png", root / "loop.png", root / "a\0b", root / ("a" * 5000), root / "images"]
    assert missing_files("here", root, [*strange, root / "images/1.png"]) == strange
    monkeypatch.chdir(root)
    assert missing_files("here", Path(), [Path("images/1.png"), Path("train.txt"), Path("no.txt")]) == [Path("no.txt")]


def test_a_hundred_thousand_files_are_looked_at_in_seconds(root: Path) -> None:
    paths = [root / "images" / f"{i % 3 + 1}.png" for i in range(100_000)]
    before = time.process_time()
    assert missing_files("here", root, paths) == []
    assert time.process_time() - before < 5


def test_the_file_system_s_own_root_is_a_root() -> None:
    assert missing_files("here", Path("/"), [Path("/etc/hostname")]) == []


@pytest.mark.parametrize("name", ["9" * 5000, "a/b\0c/d", "b\0c"])
def test_a_name_that_no_file_can_have_is_an_error_of_the_list(root: Path, name: str) -> None:
    _list(root / "val.txt", name)
    with pytest.raises((FileNotFoundError, ValueError), match=rf"^Data set at {root}: .*: (every listed|must be a)"):
        _folder(root)
