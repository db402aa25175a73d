"""Images decoded once, however many want them, whoever is killed, and whatever is damaged, full or not there."""

import os
import pickle
import resource
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroiou_study.core.data import cached as module
from neuroiou_study.core.data.cached import CachedDataset, cached, file_name
from neuroiou_study.core.data.dataset import Split
from neuroiou_study.core.data.folder import FolderDataset
from tests.core.data.counted import Counted, assert_same, counted, decoded, files, make_images, plain
from tests.core.data.made import truncate
from tests.stages.processes import kill, received, run_together, started, wait_until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_images(tmp_path / "data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "images"


def make(index: int, barrier: Any, root: Path, folder: Path) -> None:
    """Want the cache in the same moment as the others."""
    dataset = counted(root)
    barrier.wait()
    found = cached(dataset, folder)
    assert isinstance(found, CachedDataset)
    pixels = [sample.image.tobytes() + sample.labels.tobytes() for sample in found.samples()]
    (folder.parent / f"{index}.pickle").write_bytes(pickle.dumps(pixels))


def test_of_many_processes_one_decodes(root: Path, folder: Path) -> None:
    expected = [sample.image.tobytes() + sample.labels.tobytes() for sample in plain(root)]
    run_together(make, 3, root, folder)
    assert decoded(root) == list(range(40))
    assert files(folder) == [file_name(counted(root))]
    for index in range(3):
        assert pickle.loads((folder.parent / f"{index}.pickle").read_bytes()) == expected


def stop_in_the_middle(connection: Connection, root: Path, folder: Path) -> None:
    Counted.stops = connection
    module._THREADS = 1
    cached(counted(root), folder)


def want(connection: Connection, root: Path, folder: Path) -> None:
    dataset = counted(root)
    connection.send(os.getpid())
    connection.send(type(cached(dataset, folder)).__name__)


def waits_for_a_lock(pid: int) -> bool:
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(line[1] == "->" and line[5] == str(pid) for line in lines)


def test_a_killed_maker_leaves_nothing_that_is_read_and_holds_nobody_up(root: Path, folder: Path) -> None:
    expected = plain(root)
    with started(stop_in_the_middle, root, folder) as (maker, middle):
        assert received(middle) == "in the middle"
        (partial,) = folder.iterdir()
        assert partial.name.endswith(".partial") and partial.stat().st_size > 1000
        with started(want, root, folder) as (waiter, other):
            pid = received(other)
            wait_until(lambda: waits_for_a_lock(pid))
            decoded(root)
            kill(maker)
            assert received(other) == "CachedDataset"
            waiter.join()
    assert decoded(root) == list(range(40))
    assert files(folder) == [file_name(counted(root))]
    assert_same(cached(counted(root), folder), expected)
    assert decoded(root) == []


def test_what_a_killed_maker_left_is_made_anew(root: Path, folder: Path) -> None:
    with started(stop_in_the_middle, root, folder) as (maker, middle):
        assert received(middle) == "in the middle"
        kill(maker)
    assert_same(cached(counted(root), folder), plain(root))
    assert files(folder) == [file_name(counted(root))]


def flip_a_bit(path: Path, at: int) -> None:
    """Damage a byte, as a disk would: time and size stay."""
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_damaged_image_is_found_told_and_made_again(
    root: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = plain(root)
    cached(counted(root), folder)
    path = folder / file_name(counted(root))
    flip_a_bit(path, 6 * 8 * 4 + 9 * 5 * 3 + 1)  # the labels of image 1
    found = cached(counted(root), folder)
    decoded(root)
    assert np.array_equal(found.load(0).image, expected[0].image)
    assert (decoded(root), caplog.messages) == ([], [])
    assert_same(found, expected)
    assert decoded(root) == list(range(1, 40))
    assert_same(found, expected)
    (message,) = caplog.messages
    assert message.startswith(f"{path}: 01.png: its checksum differs: the images are read from their files")
    assert files(folder) == []
    decoded(root)
    assert_same(cached(counted(root), folder), expected)
    assert decoded(root) == list(range(40))


@pytest.mark.parametrize("kept", [0, 10, 5000])
def test_a_file_that_is_not_whole_is_told_and_made_again(
    root: Path, folder: Path, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    cached(counted(root), folder)
    path = folder / file_name(counted(root))
    truncate(path, kept)
    assert_same(cached(counted(root), folder), plain(root))
    assert caplog.messages == [f"{path}: damaged: it is made again"]
    cached(counted(root), folder)
    assert decoded(root) == []


def test_a_bad_image_is_named_and_nothing_is_left(root: Path, folder: Path) -> None:
    truncate(root / "images" / "20.png")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"images/20\.png: .*: must be a readable image"):
            cached(counted(root), folder)
        assert files(folder) == []


def test_without_a_folder_images_are_read_and_one_warning_says_why(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    splits: tuple[Split, ...] = ("train", "val", "train")
    for split in splits:
        dataset = cached(counted(root, split), tmp_path / "file" / "images")
        assert isinstance(dataset, Counted)
    (message,) = caplog.messages
    assert message.startswith(f"image cache at {tmp_path}/file/images: Not a directory: images are decoded each time")
    assert message.endswith("set NEUROIOU_CACHE to another folder or resources.image_cache to false")


def test_a_disk_that_would_be_filled_is_spared(
    root: Path, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESERVE_BYTES", 10**18)
    assert isinstance(cached(counted(root), folder), Counted)
    assert len(decoded(root)) < 40
    assert files(folder) == []
    assert "GB free: must have room for 0.0 GB more and 1000000000.0 GB of reserve" in caplog.messages[0]


def test_the_room_that_is_asked_for_is_what_the_rest_of_the_images_take(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(module, "_require_room", lambda file, num_bytes: asked.append(num_bytes))
    monkeypatch.setattr(module, "_THREADS", 3)
    folder.mkdir(parents=True)
    (folder / f".{file_name(counted(root))}.partial").write_bytes(bytes(10**6))  # of a killed maker
    cached(counted(root), folder)
    pixels = [sample.labels.size * 4 for sample in plain(root)]
    assert asked == [sum(pixels[:done]) * (40 - done) // done for done in (6, 12, 18, 24, 30, 36, 40)]


def write_little(connection: Connection, root: Path, folder: Path) -> None:
    """A process that may write ten thousand bytes into a file, and no more."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    dataset = cached(FolderDataset(root, "train", ("a", "b", "c"), select_fraction=0.0), folder)
    connection.send((type(dataset).__name__, [path.name for path in folder.iterdir()]))


def test_a_write_that_fails_in_the_middle_leaves_nothing(root: Path, folder: Path) -> None:
    with started(write_little, root, folder) as (_, connection):
        assert received(connection) == ("FolderDataset", [])
