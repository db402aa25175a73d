"""Data sets in buckets: copied to this machine once, checked, and shared by all of its processes."""

import errno
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import TypeAdapter, ValidationError

from neuroiou_study.stages.alone import locked
from neuroiou_study.stages.files import write_json
from neuroiou_study.stages.local_folder import local_folder
from neuroiou_study.stages.s3_objects import S3Objects

SCHEME = "s3://"
_ADDRESS = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<folder>.*[^/])/*")
_THREADS = 16
"""Files fetched at a time; *assumed*: small ones wait for the server most of the time."""
_QUIET_SECONDS = 2.0
"""How long a copying says nothing; *assumed*."""
_UNSAFE_PARTS = ("", ".", "..")
_log = logging.getLogger(__name__)


class _File(NamedTuple):
    size: int
    etag: str
    modified: float


_Files = dict[str, _File]
_INDEX = TypeAdapter(dict[str, Annotated[_File, "as it was listed"]])


def staged(root: str) -> Path:
    """The folder ``root``, or a whole and checked copy of it if it is ``s3://bucket/folder``.

    The copy is made once for each machine and user, below ``~/.cache/neuroiou-study/data`` (``NEUROIOU_CACHE`` moves
    it), and is taken from there afterwards: give changed data another address. Whoever is killed is gone on with.
    Raises ValueError for an address or a key that cannot be a file, FileNotFoundError if nothing is there, RuntimeError
    if it cannot be read, OSError if there is no room.
    """
    if not root.startswith(SCHEME):
        return Path(root)
    found = _ADDRESS.fullmatch(root)
    if found is None:
        raise ValueError(f"data.root: {root}: must be s3://bucket/folder: complete it")
    folder = local_folder("data") / hashlib.sha256(root.rstrip("/").encode()).hexdigest()[:16]
    with locked(folder.with_suffix(".lock")):
        if not _is_whole(folder):
            _stage(root, S3Objects(found["bucket"], f"{found['folder']}/"), folder)
    return folder


def _is_whole(folder: Path) -> bool:
    """Has ``folder`` exactly the files that were copied, each of its size?"""
    try:
        index = _INDEX.validate_json(_index(folder).read_bytes())
    except (FileNotFoundError, ValidationError):
        return False
    return _sizes(folder) == {name: file.size for name, file in index.items()}


def _stage(root: str, objects: S3Objects, folder: Path) -> None:
    """Make ``folder`` the files of ``objects``; until it is whole they are in a hidden one."""
    files, partial = _listed(root, objects), folder.with_name(f".{folder.name}.partial")
    _index(folder).unlink(missing_ok=True)
    if folder.is_dir() and not partial.exists():
        folder.rename(partial)  # most of it may be good
    shutil.rmtree(folder, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    missing = _missing(partial, files)
    _require_room(root, partial, sum(files[name].size for name in missing))
    with _fetching(partial) as scratch:
        _fetch_all(root, objects, {name: files[name] for name in missing}, partial, scratch)
    partial.rename(folder)
    write_json(_index(folder), files)


def _listed(root: str, objects: S3Objects) -> _Files:
    """What the bucket has. Raises ValueError for a key that is not a file's name below a folder."""
    files = {
        name: _File(about["Size"], about["ETag"].strip('"'), about["LastModified"].timestamp())
        for name, about in objects.listed().items()
        if not (about["Size"] == 0 and (name == "" or name.endswith("/")))  # which some tools make for a folder
    }
    if not files:
        raise FileNotFoundError(f"data.root: {root}: has no objects: must be a data set's folder: check the address")
    folders = {str(parent) for name in files for parent in Path(name).parents}
    for name in files:
        if any(part in _UNSAFE_PARTS for part in name.split("/")) or "\0" in name:
            raise ValueError(f"data.root: {root}/{name}: leaves the folder, or is no name of a file: rename the object")
        if name in folders:
            raise ValueError(f"data.root: {root}/{name}: is a file and a folder at once: rename the object")
    return files


def _missing(partial: Path, files: _Files) -> list[str]:
    """The names that are not in ``partial`` as they should be; what should not be there is removed."""
    present = _sizes(partial)
    for name in set(present) - set(files):
        (partial / name).unlink()
    # The time is set when a file has been checked: whoever changed it since has changed its time.
    return [
        name
        for name, file in files.items()
        if present.get(name) != file.size or (partial / name).stat().st_mtime != _time(file)
    ]


@contextmanager
def _fetching(partial: Path) -> Iterator[Path]:
    """A folder for files that are not yet whole, on the same disk."""
    scratch = partial.with_suffix(".fetching")
    shutil.rmtree(scratch, ignore_errors=True)  # of one who was killed
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch)


def _fetch_all(root: str, objects: S3Objects, files: _Files, partial: Path, scratch: Path) -> None:
    say = _progress(root, files)
    for parent in {(partial / name).parent for name in files}:
        parent.mkdir(parents=True, exist_ok=True)
    numbered: Iterable[tuple[int, str]] = enumerate(files)
    with ThreadPoolExecutor(_THREADS) as pool:
        fetched = [
            pool.submit(_fetch, root, objects, name, files[name], scratch / str(number), partial / name)
            for number, name in numbered
        ]
        try:
            for done in as_completed(fetched):
                say(done.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(root: str, objects: S3Objects, name: str, file: _File, new: Path, path: Path) -> int:
    """Make ``path`` the object; returns its size. Raises RuntimeError if it is not what was listed."""
    if not objects.download(name, new):
        raise RuntimeError(f"data.root: {root}/{name}: went away while it was copied: put it back and run again")
    if new.stat().st_size != file.size or not _has_digest(objects, name, file, new):
        raise RuntimeError(f"data.root: {root}/{name}: differs from the bucket's list: must not change: run again")
    os.utime(new, (_time(file), _time(file)))  # the same at each copying, so that images decoded from it stay valid
    new.replace(path)
    return file.size


def _has_digest(objects: S3Objects, name: str, file: _File, path: Path) -> bool:
    """Is the file what its ETag says? One that came up in parts, or is encrypted with a key, has another kind of it."""
    if re.fullmatch("[0-9a-f]{32}", file.etag) is None:
        return True
    with path.open("rb") as content:
        if hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == file.etag:
            return True
    return objects.is_encrypted(name)


def _require_room(root: str, folder: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        need = f"needs {num_bytes / 1e9:.1f} GB at {folder.parent}, where {free / 1e9:.1f} GB are free"
        raise OSError(errno.ENOSPC, f"data.root: {root}: {need}: make room, or set NEUROIOU_CACHE to another folder")


def _progress(root: str, files: Mapping[str, _File]) -> Callable[[int], None]:
    """What says, from time to time, how much has been copied."""
    total, num_bytes, said, counted = len(files), sum(file.size for file in files.values()), time.monotonic(), [0, 0]
    _log.info("data.root: %s: copying %d files, %.1f MB, once for this machine", root, total, num_bytes / 1e6)

    def say(size: int) -> None:
        nonlocal said
        counted[0], counted[1] = counted[0] + 1, counted[1] + size
        if time.monotonic() - said > _QUIET_SECONDS or counted[0] == total:
            said = time.monotonic()
            _log.info("data.root: %s: %d of %d files, %.1f MB", root, counted[0], total, counted[1] / 1e6)

    return say


def _sizes(folder: Path) -> dict[str, int]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}


def _time(file: _File) -> float:
    return float(int(file.modified))


def _index(folder: Path) -> Path:
    return folder.with_suffix(".json")
