"""Named bytes that many processes share: the seam under documents and leases.

A name is like a path, ``studies/tiny-1a2b3c4d/trials/ce-000.json``. :class:`FolderObjects` keeps them as files,
:class:`~neuroiou_study.stages.s3_objects.S3Objects` in a bucket. Only create-if-absent is more than a dictionary has.
"""

import contextlib
import errno
import os
import uuid
from abc import ABC, abstractmethod
from pathlib import Path

_OUTAGES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)


class StoreUnavailableError(OSError):
    """The store is away, and stayed away; nothing is wrong with the work that needed it."""


def is_outage(error: BaseException) -> bool:
    """Is the store, and not the work, at fault: away, full, or not to be written to?"""
    return isinstance(error, StoreUnavailableError) or (isinstance(error, OSError) and error.errno in _OUTAGES)


class Objects(ABC):
    """Bytes by name. A reader sees the old bytes or the new ones, never a part."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """The bytes called ``name``, or None."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """``name`` is ``content``, whatever it was."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Write ``content`` unless ``name`` is there; did we? Of several that try at once exactly one does."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """``name`` is not there."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The names directly in ``folder``, without it, in order."""

    @abstractmethod
    def touch(self, name: str) -> None:
        """``name``, if it is there, was written just now."""

    def hurried(self) -> "Objects":
        """The same objects, for what may fail: an error comes within seconds where they are away."""
        return self

    @abstractmethod
    def age_seconds(self, name: str) -> float | None:
        """How long ago ``name`` was written or touched, by the clock of whoever keeps it; None if it is not there."""


class FolderObjects(Objects):
    """Objects as the files of the folder ``root``; hidden files are none."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        path = self._parented(name)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):  # of a full disk; it has its new name otherwise
                temporary.unlink(missing_ok=True)

    def create(self, name: str, content: bytes) -> bool:
        path = self._parented(name)
        try:
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def delete(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.root / folder).glob("[!.]*") if path.is_file())

    def touch(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.root / name)

    def age_seconds(self, name: str) -> float | None:
        try:
            written = (self.root / name).stat().st_mtime
        except FileNotFoundError:
            return None
        return self._now() - written

    def _now(self) -> float:
        """The file server's time, by which it also dates a file: the clocks of hosts differ."""
        clock = self.root / ".clock"
        clock.touch()
        return clock.stat().st_mtime

    def _parented(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
