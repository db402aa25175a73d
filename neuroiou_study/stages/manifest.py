"""A manifest: what a complete result consists of, so that a reader notices what is missing or has changed."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from neuroiou_study.spec.base import Spec

MANIFEST = "manifest.json"


class FileEntry(Spec):
    """What a file must be."""

    size: int = Field(ge=0)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Cost(Spec):
    """What making a result took: reserved processor and GPU time of all its workers."""

    attempt: str
    seconds: float
    cpu_seconds: float
    gpu_seconds: float


FileName = Annotated[str, Field(pattern=r"^[^./\\\x00][^/\\\x00]*$")]
"""In the folder itself, and not hidden."""


class Manifest(Spec):
    """The files of the result at ``address``, and the ``origin`` that it was made from."""

    address: str
    origin: dict[str, Any]
    files: dict[FileName, FileEntry]
    cost: Cost | None = None
    """Of the attempt that completed it; None where nobody was charged."""

    def as_bytes(self) -> bytes:
        """The content of ``manifest.json``."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def read_manifest(content: bytes, address: str, where: str) -> Manifest:
    """The manifest in ``content``, found at ``where``. Raises RuntimeError if it is not that of ``address``."""
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        detail = error.errors()[0]
        at = ".".join(map(str, detail["loc"]))
        raise RuntimeError(f"{where}: {at}: {detail['msg']}: damaged: {_remedy(where)}") from error
    if manifest.address != address:
        raise RuntimeError(f"{where}: {manifest.address}: damaged: must be that of {address}: {_remedy(where)}")
    return manifest


def describe(path: Path) -> FileEntry:
    """What the file at ``path`` is now."""
    return FileEntry(size=path.stat().st_size, sha256=sha256(path))


def require_intact(path: Path, entry: FileEntry, *, whole: bool = True) -> None:
    """Raise RuntimeError if the file at ``path`` is not what ``entry`` says; by its size alone unless ``whole``."""
    if not path.is_file() or path.stat().st_size != entry.size:
        raise RuntimeError(f"{path}: damaged: must have {entry.size} bytes: {_remedy(str(path))}")
    if whole and sha256(path) != entry.sha256:
        raise RuntimeError(f"{path}: damaged: SHA-256 differs: {_remedy(str(path))}")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remedy(where: str) -> str:
    return f"remove {where.rpartition('/')[0]} and run again"
