"""A disk of its own for a test: a small tmpfs that can be full or read-only. chmod does not stop root."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """``folder``, now a disk of that size; skips the test where nothing may be mounted."""
    folder.mkdir()
    if _call("mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", folder):
        pytest.skip("needs the right to mount a tmpfs: run as root")
    try:
        yield folder
    finally:
        assert _call("umount", "-l", folder) == 0


def make_read_only(disk: Path) -> None:
    """``disk`` takes nothing any more."""
    assert _call("mount", "-o", "remount,ro", disk) == 0


def _call(*command: object) -> int:
    try:
        return subprocess.run([*map(str, command)], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return 127
