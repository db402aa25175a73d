"""How much of a bucket's store this machine keeps: what was used longest ago goes first."""

import contextlib
import os
import shutil
import time
import uuid
from pathlib import Path

from neuroiou_study.stages.manifest import MANIFEST

CACHE_GIB = 20.0
"""*Assumed*; NEUROIOU_CACHE_GIB says otherwise."""
IN_USE_SECONDS = 600.0
"""What was asked for so lately may be being read; *assumed*."""


def make_room(root: Path, newcomer: Path) -> None:
    """Remove complete results below ``root``, the longest unused first, until they fit; never the ``newcomer``."""
    results = [path.parent for path in root.glob(f"*/stages/*/*/{MANIFEST}") if path.parent.suffix == ""]
    sizes = {folder: _size(folder) for folder in results}
    excess = sum(sizes.values()) - limit_bytes()
    for folder in sorted(results, key=_last_used):
        if excess <= 0:
            return
        if folder != newcomer and time.time() - _last_used(folder) > IN_USE_SECONDS:
            _remove(folder)
            excess -= sizes[folder]


def limit_bytes() -> float:
    """How many bytes may be kept. Raises ValueError if NEUROIOU_CACHE_GIB is no number."""
    text = os.environ.get("NEUROIOU_CACHE_GIB", str(CACHE_GIB))
    try:
        return float(text) * 2**30
    except ValueError:
        raise ValueError(f"NEUROIOU_CACHE_GIB: {text}: must be a number of GiB: change it") from None


def _remove(folder: Path) -> None:
    gone = folder.with_name(f".{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):  # another process was faster
        folder.rename(gone)  # so that nobody sees half of it
        shutil.rmtree(gone)


def _last_used(folder: Path) -> float:
    try:
        return (folder / MANIFEST).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(folder: Path) -> int:
    sizes = 0
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            sizes += path.stat().st_size
    return sizes
