"""How much of a bucket's store this machine keeps: what was used longest ago goes first, never what is in use."""

import contextlib
import fcntl
import os
import re
import shutil
import threading
import time
import uuid
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

from neuroiou_study.stages.manifest import MANIFEST

CACHE_GIB = 20.0
"""*Assumed*; NEUROIOU_CACHE_GIB says otherwise."""
HELD = 32
"""So many folders a process holds: more than a stage reads, less than a process may have open; *assumed*."""
IN_USE_SECONDS = 600.0
"""What was asked for so lately may be being read by a process that has since asked for many others; *assumed*."""
LEFTOVER_SECONDS = 24 * 3600.0
"""What a maker that was killed has left, and nobody has gone on with for so long, is in the bucket; *assumed*."""

_held: OrderedDict[Path, BinaryIO] = OrderedDict()
_guard = threading.Lock()


def hold(folder: Path) -> None:
    """See that no process removes ``folder`` for room, until this one ends or has held so many others since."""
    with _guard:
        file = _held.pop(folder, None)
        if file is None:
            file = _used(folder).open("wb")
            fcntl.flock(file, fcntl.LOCK_SH)
        _held[folder] = file
        while len(_held) > HELD:
            _held.popitem(last=False)[1].close()


def make_room(root: Path, newcomer: Path) -> None:
    """Remove leftovers, and results the longest unused first until they fit; never the ``newcomer``.

    ``root`` is the folder of all stores. Raises ValueError if NEUROIOU_CACHE_GIB is no number.
    """
    folders = [path for path in root.glob("*/stages/*/*") if path.is_dir() and path != newcomer]
    results = {path for path in folders if "." not in path.name}
    for leftover in set(folders) - results:
        _remove(leftover, LEFTOVER_SECONDS)
    sizes = {folder: _size(folder) for folder in results}
    excess = sum(sizes.values()) + _size(newcomer) - limit_bytes()
    for folder in sorted(results, key=_last_used):
        if excess > 0 and _remove(folder, IN_USE_SECONDS):
            excess -= sizes[folder]


def limit_bytes() -> float:
    """How many bytes may be kept. Raises ValueError if NEUROIOU_CACHE_GIB is no number."""
    text = os.environ.get("NEUROIOU_CACHE_GIB", str(CACHE_GIB))
    if re.fullmatch(r"\d+(\.\d*)?([eE][+-]?\d+)?", text) is None:
        raise ValueError(f"NEUROIOU_CACHE_GIB: {text}: must be a number of GiB: change it")
    return float(text) * 2**30


def discard(folder: Path) -> None:
    """``folder`` is gone, in one step, whoever uses it."""
    gone = folder.with_name(f".{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _remove(folder: Path, unused_seconds: float) -> bool:
    """Remove ``folder`` unless somebody uses it; did we?"""
    if time.time() - _last_used(folder) <= unused_seconds:
        return False
    with _used(folder).open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        discard(folder)
    return True


def _used(folder: Path) -> Path:
    """The file that its users lock together, and who removes it alone."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.with_name(f"{folder.name.partition('.')[0]}.used")


def _last_used(folder: Path) -> float:
    for path in (folder / MANIFEST, folder):
        with contextlib.suppress(FileNotFoundError):
            return path.stat().st_mtime
    return 0.0


def _size(folder: Path) -> int:
    sizes = 0
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            sizes += path.stat().st_size
    return sizes
