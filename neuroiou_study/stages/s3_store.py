"""A store in a bucket, with copies of what this machine uses below ``~/.cache/neuroiou-study``.

Beside the layout of ``store.py``, in the bucket every file of a result lies under the hash of its content::

    stages/<stage>/<hash>/<sha256>             a file of a result; manifest.json, made once, says which and what name
    stages/<stage>/<hash>.partial/<sha256>     a file of a workspace as it was last kept; its manifest.json is replaced

So a maker that was given up and comes back late cannot change what another one has completed.
"""

import fcntl
import hashlib
import logging
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neuroiou_study.stages.files import remove_hidden, write_whole
from neuroiou_study.stages.local_folder import local_folder
from neuroiou_study.stages.manifest import MANIFEST, Cost, Manifest, describe, read_manifest, require_intact
from neuroiou_study.stages.read_cache import make_room
from neuroiou_study.stages.s3_objects import S3Objects
from neuroiou_study.stages.store import SMALL_BYTES, Store, manifest_name

_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>[\w./-]*))?")
_log = logging.getLogger(__name__)


class S3Store(Store):
    """The store at ``s3://bucket/prefix``. Raises ValueError for another kind of address."""

    objects: S3Objects

    def __init__(self, address: str) -> None:
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise ValueError(f"--store {address}: must be s3://bucket/prefix: change it")
        prefix = (found["prefix"] or "").strip("/")
        self.address = f"s3://{found['bucket']}/{prefix}".rstrip("/")
        self.objects = S3Objects(found["bucket"], f"{prefix}/" if prefix else "")
        self._digest = hashlib.sha256(self.address.encode()).hexdigest()[:16]
        self._known = set[str]()

    @property
    def scratch(self) -> Path:
        folder = local_folder("stores") / self._digest
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def has(self, address: str) -> bool:
        if address not in self._known and self.objects.has(manifest_name(address)):
            self._known.add(address)  # a result is never taken back
        return address in self._known

    def started(self, address: str) -> Path | None:
        if self.has(address):
            return self.find(address)
        kept = self._kept(address)
        if kept is None:
            return None
        files = {n: entry for n, entry in kept.files.items() if entry.size <= SMALL_BYTES}
        folder = self._folder(address).with_suffix(".glance")
        self._fetch(Manifest(address=address, origin={}, files=files), _partial(address), folder)
        return folder

    def workspace(self, address: str) -> Path:
        folder, kept = self._folder(address).with_suffix(".partial"), self._kept(address)
        mine = folder / _KEPT
        if kept is not None and (not mine.is_file() or mine.read_bytes() != kept.as_bytes()):
            self._restore(kept, address, folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def keep(self, address: str) -> None:
        folder, former = self._folder(address).with_suffix(".partial"), self._kept(address)
        files = {_shown(path): describe(path) for path in sorted(folder.iterdir()) if path.name != _KEPT}
        kept = Manifest(address=address, origin={}, files=files)
        there = set() if former is None else {entry.sha256 for entry in former.files.values()}
        for name, entry in files.items():
            if entry.sha256 not in there:
                self.objects.upload(folder / _hidden(name), f"{_partial(address)}/{entry.sha256}")
        self.objects.write(f"{_partial(address)}/{MANIFEST}", kept.as_bytes())
        write_whole(folder / _KEPT, lambda path: path.write_bytes(kept.as_bytes()))
        for stale in there - {entry.sha256 for entry in files.values()}:
            self.objects.delete(f"{_partial(address)}/{stale}")

    def commit(self, address: str, origin: Mapping[str, Any], cost: Cost | None = None) -> Path:
        workspace = self._folder(address).with_suffix(".partial")
        workspace.mkdir(parents=True, exist_ok=True)
        paths = [path for path in sorted(workspace.glob("[!.]*")) if path.name != MANIFEST]
        files = {path.name: describe(path) for path in paths}
        for path in paths:
            self.objects.upload(path, f"stages/{address}/{files[path.name].sha256}")
        manifest = Manifest(address=address, origin=dict(origin), files=files, cost=cost)
        if self.objects.create(manifest_name(address), manifest.as_bytes()):
            self._adopt(workspace, manifest)
        shutil.rmtree(workspace, ignore_errors=True)
        self._forget(address)
        return self.verified(address)

    def give_up(self, address: str) -> None:
        workspace = self._folder(address).with_suffix(".partial")
        workspace.mkdir(parents=True, exist_ok=True)
        remove_hidden(workspace)
        self.keep(address)

    def _local(self, address: str) -> Path | None:
        """Downloaded and checked by the first of a machine's processes that needs it; the others wait."""
        if not self.has(address):
            return None
        folder = self._folder(address)
        with _locked(folder.with_suffix(".lock")):
            if not (folder / MANIFEST).is_file():
                manifest = self.manifest(address)
                if manifest is None:
                    raise RuntimeError(f"{address}: was in {self.address} and is not any more: run the study again")
                self._fetch(manifest, f"stages/{address}", folder)
                make_room(local_folder("stores"), folder)
        (folder / MANIFEST).touch()  # used: the cache keeps it
        return folder

    def _fetch(self, manifest: Manifest, source: str, folder: Path) -> None:
        """Make ``folder`` the files of ``manifest``, all of them or none."""
        new = folder.with_name(f".{uuid.uuid4().hex}")
        new.mkdir(parents=True)
        try:
            for name, entry in manifest.files.items():
                self._fetch_file(f"{source}/{entry.sha256}", new / _hidden(name))
                require_intact(new / _hidden(name), entry)
            (new / MANIFEST).write_bytes(manifest.as_bytes())
            shutil.rmtree(folder, ignore_errors=True)
            new.replace(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _fetch_file(self, name: str, path: Path) -> None:
        if not self.objects.download(name, path):
            raise RuntimeError(f"{self.address}/{name}: damaged: must be there: remove its folder and run again")

    def _restore(self, kept: Manifest, address: str, folder: Path) -> None:
        """Go on from what was kept; where that is damaged, from the beginning."""
        try:
            self._fetch(kept, _partial(address), folder)
            (folder / MANIFEST).rename(folder / _KEPT)
        except RuntimeError as error:
            _log.warning("%s: the stage begins anew", error)
            shutil.rmtree(folder, ignore_errors=True)

    def _kept(self, address: str) -> Manifest | None:
        name = f"{_partial(address)}/{MANIFEST}"
        content = self.objects.read(name)
        try:
            return None if content is None else read_manifest(content, address, f"{self.address}/{name}")
        except RuntimeError as error:
            _log.warning("%s: the stage begins anew", error)
            return None

    def _adopt(self, workspace: Path, manifest: Manifest) -> None:
        """What was made here need not be downloaded."""
        remove_hidden(workspace)
        (workspace / MANIFEST).write_bytes(manifest.as_bytes())
        folder = self._folder(manifest.address)
        with _locked(folder.with_suffix(".lock")):
            shutil.rmtree(folder, ignore_errors=True)
            workspace.rename(folder)

    def _forget(self, address: str) -> None:
        for name in self.objects.names(_partial(address)):
            self.objects.delete(f"{_partial(address)}/{name}")

    def _folder(self, address: str) -> Path:
        return self.scratch / "stages" / address


_KEPT = ".kept.json"
_DOT = "dot-"
"""What stands for the dot of a hidden file where names may not have one."""


def _shown(path: Path) -> str:
    return re.sub(r"^\.", _DOT, path.name)


def _hidden(name: str) -> str:
    return re.sub(f"^{_DOT}", ".", name)


def _partial(address: str) -> str:
    return f"stages/{address}.partial"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with its process
        yield
