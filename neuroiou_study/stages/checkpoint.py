"""Checkpoints: what an interrupted training goes on from, checked against its name before it is believed.

A checkpoint is the hidden file ``.checkpoint-<SHA-256 of its content>.pt``: the store keeps it for a resumption and
removes it when the stage is complete. The new one is on the disk before the former one goes.
"""

import hashlib
import logging
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

CHECKPOINTS = ".checkpoint-*.pt"
Checkpoint = dict[str, Any]

_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError),
    *(ArithmeticError, pickle.PickleError, struct.error, zipfile.BadZipFile),
)
"""What torch.load raises for a file that is no checkpoint or would run code."""


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> Path:
    """Leave ``state`` as the one checkpoint of ``folder``; raises OSError, and leaves the former one, if it cannot."""
    new = folder / ".new-checkpoint.pt"
    with _written(new) as file:
        digested = _Digested(file)
        torch.save(dict(state), digested)  # type: ignore[arg-type]  # it calls write and flush
        file.flush()
        os.fsync(file.fileno())
    path = new.replace(folder / CHECKPOINTS.replace("*", digested.sha256.hexdigest()))
    for former in set(folder.glob(CHECKPOINTS)) - {path}:
        former.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint of ``folder``, on the CPU; None if there is none. A damaged one is reported and passed over."""
    # Two, if a maker was killed between writing and removing: the later one saves more work.
    newest_first = sorted(folder.glob(CHECKPOINTS), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in newest_first:
        checkpoint = _loaded(path)
        if checkpoint is not None:
            return checkpoint
    return None


def _loaded(path: Path) -> Checkpoint | None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if path.name != CHECKPOINTS.replace("*", digest):
        logging.warning("%s: damaged: SHA-256 must be that of its name: not used, its work is done again", path)
        return None
    try:
        checkpoint: Checkpoint = torch.load(path, weights_only=True, map_location="cpu")
    except _UNREADABLE as error:
        reason = type(error).__name__
        logging.warning("%s: %s: must be a checkpoint of ours: not used, its work is done again", path, reason)
        return None
    if not isinstance(checkpoint, dict):
        logging.warning("%s: %s: must be a checkpoint of ours: not used, its work is done again", path, checkpoint)
        return None
    return checkpoint


class _Digested:
    """A file whose SHA-256 is that of what was meant to be in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """The file ``path`` to be written, which is not left behind if that fails. Raises OSError with a remedy then."""
    try:
        with path.open("wb") as file:
            yield file
    except (OSError, RuntimeError) as error:
        with suppress(OSError):  # of a folder that cannot be written to
            path.unlink(missing_ok=True)
        # torch.save covers the file's own error with one of its own.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        remedy = "make space, or the folder writable, and run again"
        raise OSError(cause.errno, f"{path}: {cause.strerror}: must be written whole: {remedy}") from error
