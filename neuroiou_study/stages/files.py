"""Files that are written whole or not at all, and errors of a disk that say what they are."""

import contextlib
import errno
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_json(path: Path, document: object) -> None:
    """Write ``document`` so that a reader sees the old file or the new one, never a part."""
    text = json.dumps(document, indent=1) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text))


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write ``tensors`` as safetensors. Raises OSError if the disk does not take them."""
    with disk_errors(path):
        write_whole(path, lambda temporary: save_file(dict(tensors), temporary))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a hidden file, which then gets the name ``path``; a failure leaves what was there."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_hidden(folder: Path) -> None:
    """Remove the hidden files of ``folder``."""
    for path in folder.glob(".*"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Inside the block, what libraries raise when a disk does not take ``path`` is an OSError with its number."""
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        number = next((each for each in _FULL if _says(error, each)), None)
        if number is None:
            raise
        raise OSError(number, f"{error}", str(path)) from error


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def _says(error: Exception, number: int) -> bool:
    return f"os error {number}" in str(error)
