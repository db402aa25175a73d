"""Images decoded once: what is served, what a cache is called by, and what becomes of old ones."""

import logging
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest

from neuroiou_study.core.data import cached as module
from neuroiou_study.core.data.cached import CachedDataset, cached, file_name
from neuroiou_study.core.data.category import CategoryDataset
from neuroiou_study.core.data.folder import FolderDataset
from neuroiou_study.core.data.voc import VocDataset
from tests.core.data.counted import assert_same, counted, decoded, files, make_images, plain
from tests.core.data.made import write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_images(tmp_path / "data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "images"


def test_each_image_is_decoded_once_and_served_bit_for_bit(root: Path, folder: Path) -> None:
    expected = plain(root)
    for _ in range(3):
        assert_same(cached(counted(root), folder), expected)
    assert decoded(root) == list(range(40))
    assert files(folder) == [file_name(counted(root))]
    assert decoded(root) == []


@pytest.mark.parametrize("size", [None, (31, 42)])
def test_photographs_are_served_bit_for_bit(voc_sample: Path, folder: Path, size: tuple[int, int] | None) -> None:
    dataset = VocDataset(voc_sample, "train", size=size)
    expected = list(dataset.samples())
    assert size or len({sample.labels.shape for sample in expected}) > 2
    found = cached(dataset, folder)
    assert isinstance(found, CachedDataset)
    assert_same(found, expected)


def test_classes_void_and_counts_are_those_of_the_data_set(root: Path, folder: Path) -> None:
    dataset = counted(root, ignore_index=77)
    found = cached(dataset, folder)
    assert (found.class_names, found.ignore_index, found.background) == (("a", "b", "c"), 77, 1)
    assert found.num_classes == 3
    assert found.summary() == dataset.summary()
    by_category, expected = (CategoryDataset(each, "b") for each in (found, dataset))
    assert_same(by_category, list(expected.samples()))


def test_splits_are_files_of_their_own(root: Path, folder: Path) -> None:
    for split in ("train", "val"):
        assert_same(cached(counted(root, split), folder), plain(root, split))
    assert [name.rsplit("-", 2)[0] for name in files(folder)] == ["counted-train", "counted-val"]


def test_a_split_without_images_can_be_cached(root: Path, folder: Path) -> None:
    assert len(cached(counted(root, "select"), folder)) == 0
    assert len(cached(counted(root, "select"), folder)) == 0
    assert len(files(folder)) == 1


def test_a_changed_file_is_decoded_anew_and_what_it_replaces_is_removed(root: Path, folder: Path) -> None:
    before = cached(counted(root), folder)
    first = plain(root)
    path = root / "images" / "07.png"
    stat = path.stat()
    write(path, 255 - first[7].image)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert_same(cached(counted(root), folder), plain(root))
    assert files(folder) == [file_name(counted(root))]
    # Whoever has mapped it keeps what he has.
    assert_same(before, first)


@pytest.mark.parametrize("end", ["mtime", "size"])
@pytest.mark.parametrize("name", ["images/39.png", "masks/00.png"])
def test_time_and_size_of_every_file_are_in_the_name(root: Path, name: str, end: str) -> None:
    before, path = file_name(counted(root)), root / name
    stat = path.stat()
    if end == "size":
        path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + (end == "mtime")))
    after = file_name(counted(root))
    assert after != before
    assert after.rpartition("-")[0] == before.rpartition("-")[0]


@pytest.mark.parametrize(
    "changes", [{"size": (31, 42)}, {"ignore_index": 77}, {"class_names": ("a", "b", "d")}, {"select_fraction": 0.5}]
)
def test_what_decides_the_samples_is_in_the_name(root: Path, changes: dict[str, Any]) -> None:
    values: dict[str, Any] = {"class_names": ("a", "b", "c"), "select_fraction": 0.0}
    assert file_name(FolderDataset(root, "train", **{**values, **changes})) != file_name(
        FolderDataset(root, "train", **values)
    )


class Brighter(FolderDataset):
    """The same files, otherwise decoded."""


def test_who_decodes_and_with_what_is_in_the_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {file_name(kind(root, "train", ("a", "b", "c"))) for kind in (FolderDataset, Brighter)}
    monkeypatch.setattr(PIL, "__version__", "0.1")
    names.add(file_name(FolderDataset(root, "train", ("a", "b", "c"))))
    for changed in ("folder", "files", "dataset", "transforms", "sample_file"):
        name = f"neuroiou_study.core.data.{changed}"
        monkeypatch.setattr(module, "_source", lambda source, name=name: source + "!" * (source == name))
        names.add(file_name(FolderDataset(root, "train", ("a", "b", "c"))))
    assert len(names) == 3 + 5


def test_a_folder_is_the_same_by_whatever_path_it_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    assert file_name(counted(Path("data"))) == file_name(counted(root))


def test_caches_that_nobody_has_opened_for_long_are_removed_when_one_is_made(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(counted(root, "val"), folder)
    cached(counted(root, "val", size=(31, 42)), folder)
    used, unused = (folder / file_name(counted(root, "val", size=size)) for size in (None, (31, 42)))
    others = [folder / name for name in (".x.samples.partial", "x.samples", "README")]
    for path in others:
        path.write_text("")
    long_ago = used.stat().st_mtime - module.UNUSED_SECONDS - 1
    for path in (used, unused, *others):
        os.utime(path, (long_ago, long_ago))
    cached(counted(root, "val"), folder)  # which is to open it
    cached(counted(root), folder)
    assert files(folder) == sorted(["README", used.name, file_name(counted(root))])


def test_a_cache_that_is_removed_while_it_is_used_serves_on(root: Path, folder: Path) -> None:
    expected = plain(root)
    dataset = cached(counted(root), folder)
    (folder / file_name(counted(root))).unlink()
    assert_same(dataset, expected)
    assert decoded(root) == list(range(40))


def test_another_process_maps_the_file_instead_of_being_sent_it(root: Path, folder: Path) -> None:
    dataset = cached(counted(root), folder)
    assert isinstance(dataset, CachedDataset)
    sent = pickle.loads(pickle.dumps(dataset))
    assert isinstance(sent.file.pixels, np.memmap)
    assert_same(sent, plain(root))


def test_a_making_that_takes_long_says_how_far_it_is(
    root: Path, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    cached(counted(root, "val"), folder)
    assert caplog.messages == []
    monkeypatch.setattr(module, "_QUIET_SECONDS", -1.0)
    monkeypatch.setattr(module, "_THREADS", 10)
    cached(counted(root), folder)
    assert caplog.messages == [f"Data set train: {done} of 40 images decoded, once" for done in (20, 40)]
