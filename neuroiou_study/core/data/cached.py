"""Decoded and resized images, kept on the machine's disk and shared by all of its processes.

A split is decoded once, into one file of a folder; whoever needs it maps that file. The file's name is made of
everything that its content depends on, so that a changed image, size or line of code means another file. The folder
can be removed at any time, even while it is used.
"""

import contextlib
import errno
import fcntl
import hashlib
import inspect
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import BinaryIO

import PIL

from neuroiou_study.core.data import sample_file, transforms
from neuroiou_study.core.data.dataset import Sample, SegmentationDataset
from neuroiou_study.core.data.files import FilesDataset
from neuroiou_study.core.data.sample_file import DamagedFileError, SampleFile, write_samples

RESERVE_BYTES = 2 * 1024**3
"""What a cache leaves free on its disk; *assumed*."""
UNUSED_SECONDS = 30 * 24 * 3600.0
"""A cache that nobody has opened for so long is removed when another is made; *assumed*."""
_QUIET_SECONDS = 2.0
"""How long a making says nothing; *assumed*."""
_THREADS = min(8, os.cpu_count() or 1)
"""Images decoded at a time; *assumed*: more would hold more of them in memory, and a disk is no faster."""

_log = logging.getLogger(__name__)


class CachedDataset(SegmentationDataset):
    """The samples of ``dataset``, bit for bit, from ``file``; from ``dataset`` itself once ``file`` proves damaged."""

    def __init__(self, dataset: SegmentationDataset, file: SampleFile) -> None:
        self.dataset, self.file = dataset, file
        self.class_names, self.ignore_index = dataset.class_names, dataset.ignore_index
        self.background = dataset.background
        self._is_damaged = False

    def __len__(self) -> int:
        return len(self.dataset)

    def load(self, index: int) -> Sample:
        if not self._is_damaged:
            try:
                return self.file.load(index)
            except DamagedFileError as error:
                self._is_damaged = True
                _log.warning("%s: the images are read from their files, and cached again in the next stage", error)
                with contextlib.suppress(OSError):
                    self.file.path.unlink(missing_ok=True)
        return self.dataset.load(index)


def cached(dataset: FilesDataset, folder: Path) -> SegmentationDataset:
    """``dataset`` with its samples in a file of ``folder``, which is made if there is none.

    Of several processes one makes it and the others wait; if that one dies, another makes it. Where it cannot be made,
    a warning says why, and the result is ``dataset`` itself. Raises ValueError, as ``dataset`` does, for a bad image.
    """
    try:
        path = folder / file_name(dataset)
        found = _found(path)
        return CachedDataset(dataset, _made(path, dataset) if found is None else found)
    except OSError as error:
        _warn_once(
            f"image cache at {folder}: {error.strerror or error}: images are decoded each time, which is slower: "
            "make room, or set NEUROIOU_CACHE to another folder or resources.image_cache to false"
        )
        return dataset


def file_name(dataset: FilesDataset) -> str:
    """``<kind>-<split>-<what>-<state>.samples``: the same for equal samples, whoever asks.

    *what* is which files are decoded how and with which code; *state* is the size and the time of each file. Raises
    OSError if a file is not there.
    """
    kind = type(dataset)
    what = [
        PIL.__version__,
        kind.__qualname__,
        [_source(name) for name in _modules(kind)],
        [str(dataset.root.absolute()), dataset.split, dataset.size, dataset.class_names, dataset.ignore_index],
        [str(path.absolute()) for pair in dataset.pairs for path in pair],
    ]
    stats = (path.stat() for pair in dataset.pairs for path in pair)
    state = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    name = kind.__name__.removesuffix("Dataset").lower()
    return f"{name}-{dataset.split}-{_digest(what)}-{_digest(state)}.samples"


def _modules(kind: type[FilesDataset]) -> list[str]:
    """The modules whose code decides what a sample is: who changes it must not be shown the samples of before."""
    kinds = (each for each in kind.__mro__ if issubclass(each, SegmentationDataset))
    return [*(each.__module__ for each in kinds), transforms.__name__, sample_file.__name__]


@cache
def _source(module: str) -> str:
    """Read early and once: a process goes on with the code it has loaded, whatever becomes of the files."""
    return inspect.getsource(sys.modules[module])


def _digest(document: object) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:16]


@cache
def _warn_once(message: str) -> None:
    """Of a process that builds each data set for each stage."""
    _log.warning(message)


def _found(path: Path) -> SampleFile | None:
    """The file at ``path``, marked as used today; None if there is none, or a damaged one."""
    try:
        file = SampleFile(path)
    except (FileNotFoundError, DamagedFileError):
        return None
    with contextlib.suppress(OSError):  # somebody else's file serves as well
        os.utime(path)
    return file


def _made(path: Path, dataset: FilesDataset) -> SampleFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.with_name(f".{path.name}.partial")) as file:
        # Again, now that nobody else makes it: whoever did has finished.
        found = _found(path)
        if found is not None:
            return found
        if path.exists():
            _log.warning("%s: damaged: it is made again", path)
        write_samples(file, _decoded(dataset, file))
        file.flush()
        Path(file.name).replace(path)
    _remove_old(path)
    return SampleFile(path)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """The file ``path``, empty, for one at a time on this machine; removed at the end if it is still there.

    The right is a lock on the file itself, which the kernel takes back from a process that dies.
    """
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(path, file):
                continue  # whoever had it before us has renamed or removed it
            file.seek(0)
            file.truncate()
            try:
                yield file
            finally:
                if _is_at(path, file):
                    path.unlink()
            return


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _decoded(dataset: FilesDataset, file: BinaryIO) -> Iterator[Sample]:
    """The samples in order, some at a time, while there is room for them on the disk of ``file``."""
    total, window, say = len(dataset), 2 * _THREADS, _progress(dataset)
    with ThreadPoolExecutor(_THREADS) as pool:
        for done in range(0, total, window):
            yield from pool.map(dataset.load, range(done, min(done + window, total)))
            done = min(done + window, total)
            _require_room(file, file.tell() * (total - done) // done)
            say(done)


def _require_room(file: BinaryIO, num_bytes: int) -> None:
    free = shutil.disk_usage(Path(file.name).parent).free
    if free < num_bytes + RESERVE_BYTES:
        gigabytes = f"{num_bytes / 1e9:.1f} GB more and {RESERVE_BYTES / 1e9:.1f} GB of reserve"
        raise OSError(errno.ENOSPC, f"{free / 1e9:.1f} GB free: must have room for {gigabytes}")


def _progress(dataset: FilesDataset) -> Callable[[int], None]:
    """What says, from time to time, how many images are decoded; nothing where that is soon done."""
    said = time.monotonic()

    def say(done: int) -> None:
        nonlocal said
        if time.monotonic() - said > _QUIET_SECONDS:
            said = time.monotonic()
            _log.info("%s %s: %d of %d images decoded, once", dataset.title, dataset.split, done, len(dataset))

    return say


def _remove_old(path: Path) -> None:
    """Remove what ``path`` replaces and what nobody uses; who still has it mapped keeps it until he ends."""
    replaced = set(path.parent.glob(f"{path.stem.rpartition('-')[0]}-*{path.suffix}")) - {path}
    others = (*path.parent.glob(f"*{path.suffix}"), *path.parent.glob(f".*{path.suffix}.partial"))
    for other in others:
        with contextlib.suppress(OSError):
            if other in replaced or time.time() - other.stat().st_mtime > UNUSED_SECONDS:
                other.unlink()
