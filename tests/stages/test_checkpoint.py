"""Checkpoints that are damaged, hostile or cut short; that a training goes on from sound ones: test_leaving.py."""

import hashlib
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroiou_study.stages.backend import LocalWorker, Pruned
from neuroiou_study.stages.checkpoint import CHECKPOINTS, load_checkpoint, save_checkpoint
from neuroiou_study.stages.pretrain import pretrain
from neuroiou_study.stages.train_network import HISTORY_FILE, MODEL_FILE
from tests.stages.tiny import Heard, tiny_trial

STATE: dict[str, Any] = {"model": {"weight": torch.arange(6.0).view(2, 3)}, "history": [{"loss": 0.1}], "random": None}


def only(folder: Path) -> Path:
    (path,) = folder.glob(CHECKPOINTS)
    return path


@contextmanager
def disk_of(num_bytes: int) -> Iterator[None]:
    """No file can be longer than ``num_bytes`` meanwhile, as on a disk that is full then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_is_state(checkpoint: dict[str, Any] | None, number: float = 0.1) -> None:
    assert checkpoint is not None
    assert torch.equal(checkpoint["model"]["weight"], STATE["model"]["weight"])
    assert (checkpoint["history"], checkpoint["random"]) == ([{"loss": number}], None)


def test_what_was_saved_comes_back_under_the_digest_of_its_file(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None and load_checkpoint(tmp_path / "nowhere") is None
    path = save_checkpoint(tmp_path, STATE)
    assert path == only(tmp_path)
    assert path.name == f".checkpoint-{hashlib.sha256(path.read_bytes()).hexdigest()}.pt"
    assert_is_state(load_checkpoint(tmp_path))


def test_a_new_checkpoint_takes_the_place_of_the_former(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path, STATE)
    second = save_checkpoint(tmp_path, {**STATE, "history": [{"loss": 0.2}]})
    assert first != second and list(tmp_path.iterdir()) == [second]
    assert_is_state(load_checkpoint(tmp_path), 0.2)
    assert save_checkpoint(tmp_path, {**STATE, "history": [{"loss": 0.2}]}) == only(tmp_path)  # its own former


def damages(whole: bytes) -> Iterator[bytes]:
    for at in range(0, len(whole), 97):
        yield whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        yield whole[:at]
    yield whole + b"\0"


def test_no_damage_goes_unnoticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_checkpoint(tmp_path, STATE)
    for damaged in damages(path.read_bytes()):
        caplog.clear()
        path.write_bytes(damaged)
        assert load_checkpoint(tmp_path) is None
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        rule = "SHA-256 must be that of its name: not used, its work is done again"
        assert caplog.messages == [f"{path}: damaged: {rule}"]


def test_a_former_checkpoint_that_was_not_yet_removed_helps_where_the_new_one_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    former = save_checkpoint(tmp_path / "first", STATE)
    latest = save_checkpoint(tmp_path, {**STATE, "history": [{"loss": 0.2}]})
    former = former.rename(tmp_path / former.name)
    os.utime(former, (1, 1))
    assert_is_state(load_checkpoint(tmp_path), 0.2)
    latest.write_bytes(b"")
    assert_is_state(load_checkpoint(tmp_path))


class Hostile:
    """A pickle that makes a folder when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("content", ["hostile", "noise"])
def test_a_file_under_its_right_name_runs_no_code(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mark, made = tmp_path / "mark", tmp_path / "made"
    torch.save(Hostile(mark), made)
    if content == "noise":
        made.write_bytes(b"noise")
    path = made.rename(tmp_path / CHECKPOINTS.replace("*", hashlib.sha256(made.read_bytes()).hexdigest()))
    assert load_checkpoint(tmp_path) is None
    assert caplog.messages == [
        f"{path}: UnpicklingError: must be a checkpoint of ours: not used, its work is done again"
    ]
    assert not mark.exists()


def test_a_full_disk_leaves_the_former_checkpoint_and_says_what_to_do(tmp_path: Path) -> None:
    former = save_checkpoint(tmp_path, STATE)
    with disk_of(2000), pytest.raises(OSError, match="File too large: must be written whole: make space") as raised:
        save_checkpoint(tmp_path, {"model": torch.zeros(10_000)})
    assert str(tmp_path / ".new-checkpoint.pt") in str(raised.value)
    assert list(tmp_path.iterdir()) == [former]
    assert_is_state(load_checkpoint(tmp_path))


SPEC = tiny_trial(pretrain__epochs=3)


def interrupted(folder: Path, epoch: int = 2) -> Path:
    """A folder in which a training was stopped after ``epoch``."""
    folder.mkdir()
    with pytest.raises(Pruned):
        pretrain(SPEC, {}, folder, LocalWorker(listener=Heard(stop=("pretrain", epoch))))
    return folder


def result(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in (HISTORY_FILE, MODEL_FILE)]


def finish(folder: Path, heard: Heard | None = None) -> list[bytes]:
    pretrain(SPEC, {}, folder, LocalWorker(listener=heard or Heard()))
    return result(folder)


def test_a_training_whose_checkpoint_is_damaged_begins_anew_and_ends_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound, damaged = interrupted(tmp_path / "sound"), interrupted(tmp_path / "damaged")
    content = bytearray(only(damaged).read_bytes())
    content[len(content) // 2] ^= 1
    only(damaged).write_bytes(content)
    path = only(damaged)
    assert finish(damaged) == finish(sound)
    assert [message for message in caplog.messages if message.startswith(f"{path}: damaged")] == caplog.messages
    assert len(caplog.messages) == 1
    assert load_checkpoint(damaged) is not None and only(damaged) != path


def test_a_training_whose_disk_is_full_goes_on_when_there_is_space(tmp_path: Path) -> None:
    whole = finish(interrupted(tmp_path / "whole"))
    folder, heard = interrupted(tmp_path / "full", epoch=1), Heard()
    with (
        disk_of(only(folder).stat().st_size - 1),
        pytest.raises(OSError, match=r"\.new-checkpoint\.pt: File too large"),
    ):
        finish(folder, heard)
    assert heard.names == ["pretrain 1"] and len(list(folder.glob(".*"))) == 1
    assert finish(folder) == whole


def test_a_folder_that_is_not_there_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory: must be written whole"):
        save_checkpoint(tmp_path / "nowhere", STATE)


def test_what_cannot_be_saved_is_our_own_error(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        save_checkpoint(tmp_path, {"model": lambda: None})
