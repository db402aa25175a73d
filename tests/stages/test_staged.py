"""A data set in a bucket is one in a folder, copied once for a machine."""

import errno
import logging
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from neuroiou_study.core.data.dataset import SPLITS
from neuroiou_study.spec.data import CamvidSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.s3_objects import PART_BYTES, S3Objects
from neuroiou_study.stages.staged import staged
from tests.servers.swift import Swift
from tests.stages.processes import run_together
from tests.stages.relay import Relay, relay
from tests.stages.test_build_data import MADE, spec_of

FORK = multiprocessing.get_context("fork")
FILES = {"train.txt": b"a b\n", "images/deeper/a.png": b"image", "images/b.png": b"other", "empty": b""}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEUROIOU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def objects(bucket: str) -> S3Objects:
    """A bucket with ``FILES`` below data/any, and others beside it."""
    objects = S3Objects(bucket, "data/any/")
    for name, content in FILES.items():
        objects.write(name, content)
    S3Objects(bucket, "data/").write("any-other", b"")
    return objects


@pytest.fixture
def root(objects: S3Objects) -> str:
    return f"s3://{objects.bucket}/data/any"


@pytest.fixture
def between(s3: Swift, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    with relay(s3.endpoint) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        yield server


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert staged(str(tmp_path)) == tmp_path and staged("~/data") == Path("~/data")


def test_a_copy_is_whole_and_made_once(
    root: str, cache: Path, between: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder = staged(root)
    assert contents(folder) == FILES and folder.is_relative_to(cache / "data")
    assert between.counted() == {"GET": 1 + len(FILES)}
    assert f"data.root: {root}: copying 4 files" in caplog.text and f"{root}: 4 of 4 files, 0.0 MB" in caplog.text
    assert staged(root) == staged(f"{root}/") == folder
    assert between.counted() == {}
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


def test_a_large_file_comes_whole(root: str, objects: S3Objects, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(PART_BYTES + 1))
    objects.upload(tmp_path / "large", "large")
    assert (staged(root) / "large").read_bytes() == (tmp_path / "large").read_bytes()


def test_a_copy_that_was_spoilt_is_mended(root: str, between: Relay) -> None:
    folder = staged(root)
    between.counted()
    for spoil, fetched in (
        (lambda: (folder / "train.txt").unlink(), 1),
        (lambda: (folder / "train.txt").write_bytes(b"cut"), 1),
        (lambda: (folder / "more").write_bytes(b"more"), 0),
        (lambda: folder.with_suffix(".json").write_text("{"), 0),
        (lambda: folder.with_suffix(".json").unlink(), 0),
        (lambda: shutil.rmtree(folder), 4),
    ):
        spoil()
        assert contents(staged(root)) == FILES
        assert between.counted() == {"GET": 1 + fetched}


def stage_one(index: int, barrier: Any, root: str) -> None:
    barrier.wait()
    assert contents(staged(root)) == FILES


def test_processes_share_a_copy(root: str, between: Relay) -> None:
    run_together(stage_one, 3, root)
    assert between.counted() == {"GET": 1 + len(FILES)}


def test_who_is_killed_is_gone_on_with(bucket: str, cache: Path, between: Relay) -> None:
    objects, root = S3Objects(bucket, "data/"), f"s3://{bucket}/data"
    for number in range(60):
        objects.write(f"{number % 7}/{number}", str(number).encode())
    process = FORK.Process(target=staged, args=(root,))
    process.start()
    between.counted()
    end = time.monotonic() + 60
    while len(between.requests) < 30:
        assert time.monotonic() < end
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert [path.name for path in (cache / "data").glob("[!.]*") if path.is_dir()] == []
    time.sleep(0.2)  # the relay still answers for the dead one
    between.counted()
    assert contents(staged(root)) == {f"{number % 7}/{number}": str(number).encode() for number in range(60)}
    assert between.counted()["GET"] < 1 + 60
    assert [path.name for path in (cache / "data").glob(".*") if path.is_dir()] == []


def test_what_comes_otherwise_than_it_was_listed_is_refused(root: str, between: Relay, cache: Path) -> None:
    between.changes = lambda content: b"image!"[: len(content)].replace(b"m", b"M") if content == b"image" else content
    with pytest.raises(RuntimeError, match=rf"^data.root: {root}/images/deeper/a.png: differs from .*: run again$"):
        staged(root)
    between.changes = lambda content: content
    assert contents(staged(root)) == FILES


@pytest.mark.parametrize(
    "key", ["../b", "a/../../b", "a//b", "/etc/b", "./b", "a/..", "images", "images/b.png/c", "a/"]
)
def test_a_key_that_cannot_be_a_file_is_refused(root: str, objects: S3Objects, cache: Path, key: str) -> None:
    objects.write(key, b"hostile")
    with pytest.raises(ValueError, match=rf"^data\.root: {root}/.*: rename the object$"):
        staged(root)
    assert [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_a_folder_s_own_key_is_no_file(root: str, objects: S3Objects) -> None:
    for key in ("", "images/"):
        objects.write(key, b"")
    assert contents(staged(root)) == FILES


@pytest.mark.parametrize("address", ["s3://", "s3://bucket", "s3://bucket/", "s3:///data"])
def test_an_address_without_a_folder_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=rf"^data\.root: {address}: must be s3://bucket/folder: complete it$"):
        staged(address)


def test_nothing_there_is_said(bucket: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"data/none: has no objects: .*: check the address$"):
        staged(f"s3://{bucket}/data/none")
    with pytest.raises(RuntimeError, match=r"^s3://no-such-bucket/data/: .*NoSuchBucket.*check address, credentials"):
        staged("s3://no-such-bucket/data")


def test_a_full_disk_is_said_before_anything_is_fetched(
    root: str, between: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5))
    with pytest.raises(OSError, match="make room, or set NEUROIOU_CACHE to another folder") as raised:
        staged(root)
    assert raised.value.errno == errno.ENOSPC and between.counted() == {"GET": 1}


@pytest.mark.parametrize("name", MADE)
def test_every_data_set_may_be_in_a_bucket(bucket: str, tmp_path: Path, name: str) -> None:
    here = spec_of(name, tmp_path / name)
    assert here.name != "shapes"
    for path in (tmp_path / name).rglob("*"):
        if path.is_file():
            S3Objects(bucket, "").upload(path, f"{name}/{path.relative_to(tmp_path / name).as_posix()}")
    there = here.model_copy(update={"root": f"s3://{bucket}/{name}"})
    for split in SPLITS:
        expected = list(build.dataset(here, split).samples())
        for cached in (False, True):
            samples = list(build.dataset(there, split, cached=cached).samples())
            assert [sample.name for sample in samples] == [sample.name for sample in expected]
            assert all((a.image == b.image).all() for a, b in zip(samples, expected, strict=True))


def test_images_are_decoded_once_though_they_are_copied_again(bucket: str, tmp_path: Path, cache: Path) -> None:
    spec_of("folder", tmp_path / "data")
    for path in (tmp_path / "data").rglob("*.*"):
        S3Objects(bucket, "data/").upload(path, path.relative_to(tmp_path / "data").as_posix())
    spec = spec_of("folder", tmp_path / "data").model_copy(update={"root": f"s3://{bucket}/data"})
    build.dataset(spec, "train", cached=True)
    decoded = {path: path.stat().st_ino for path in (cache / "images").glob("*.samples")}
    shutil.rmtree(cache / "data")
    build.dataset(spec, "train", cached=True)
    assert {path: path.stat().st_ino for path in (cache / "images").glob("*.samples")} == decoded != {}


def test_an_incomplete_data_set_is_said_to_be_a_copy(root: str) -> None:
    spec = CamvidSpec(name="camvid", root=f"{root}/images")
    with pytest.raises(FileNotFoundError, match=rf"it is a copy of {root}/images: complete that, and remove /"):
        build.dataset(spec, "train")
