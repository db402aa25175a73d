"""A store in a bucket, with copies of what this machine uses below ``~/.cache/neuroiou-study``.

Beside the layout of ``store.py``, in the bucket every file of a result lies under the hash of its content::

    stages/<stage>/<hash>/<sha256>                     a file of a result; manifest.json, made once, gives its name
    stages/<stage>/<hash>.partial/<machine>-<sha256>   a file of a workspace as it was last kept; manifest.json changes

So a maker that was given up and comes back late cannot change what another one has completed or kept.
"""

import copy
import hashlib
import logging
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from neuroiou_study.stages.alone import locked
from neuroiou_study.stages.files import remove_hidden, write_whole
from neuroiou_study.stages.kept import (
    KEPT,
    MACHINE,
    hidden_name,
    is_of,
    kept_here,
    kept_objects,
    partial,
    result_object,
    shown_name,
)
from neuroiou_study.stages.local_folder import local_folder
from neuroiou_study.stages.manifest import MANIFEST, Cost, FileEntry, Manifest, describe, read_manifest
from neuroiou_study.stages.read_cache import discard, hold, make_room
from neuroiou_study.stages.s3_objects import S3Objects
from neuroiou_study.stages.store import SMALL_BYTES, Store, manifest_name

Found = TypeVar("Found")
_SEGMENT = r"(?!\.{1,2}(/|$))[\w.=+@-]+"
_ADDRESS = re.compile(
    rf"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])/?(?P<prefix>(?<=/){_SEGMENT}(/{_SEGMENT})*/?)?", re.ASCII
)
_log = logging.getLogger(__name__)


class S3Store(Store):
    """The store at ``s3://bucket/prefix``. Raises ValueError for another kind of address."""

    objects: S3Objects
    poll_seconds = 1.0  # a look is a request

    def __init__(self, address: str) -> None:
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise ValueError(f"--store {address}: must be s3://bucket/prefix: change it")
        prefix = (found["prefix"] or "").rstrip("/")
        self.address = f"s3://{found['bucket']}/{prefix}".rstrip("/")
        self.objects = S3Objects(found["bucket"], f"{prefix}/" if prefix else "")
        self._digest = hashlib.sha256(self.address.encode()).hexdigest()[:16]
        self._manifests: dict[str, bytes] = {}

    @property
    def scratch(self) -> Path:
        folder = local_folder("stores") / self._digest
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def hurried(self) -> "S3Store":
        store = copy.copy(self)
        store.objects = self.objects.hurried()
        return store

    def has(self, address: str) -> bool:
        return self._content(address) is not None

    def manifest(self, address: str) -> Manifest | None:
        content = self._content(address)
        return None if content is None else read_manifest(content, address, f"{self.address}/{manifest_name(address)}")

    def find(self, address: str) -> Path | None:
        return self._sound(super().find, address)

    def verified(self, address: str) -> Path:
        return self._sound(super().verified, address)

    def started(self, address: str) -> Path | None:
        if self.has(address):
            return self.find(address)
        workspace, kept = self._workspace(address), self._kept(address)
        if workspace.is_dir() and is_of(workspace, kept):
            return workspace
        return None if kept is None else self._glance(kept)

    def workspace(self, address: str) -> Path:
        folder, kept = self._workspace(address), self._kept(address)
        hold(folder)
        if kept is not None and not is_of(folder, kept):
            self._restore(kept, folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def keep(self, address: str) -> None:
        if self.has(address):
            return  # by somebody who took our lease over
        folder, machine = self._workspace(address), self._machine()
        files = {shown_name(path): describe(path) for path in sorted(folder.iterdir()) if path.name != KEPT}
        kept = Manifest(address=address, origin={MACHINE: machine}, files=files)
        former = kept_here(folder)
        there = (
            set(kept_objects(former).values()) if former is not None and former.origin[MACHINE] == machine else set()
        )
        for shown, object_name in kept_objects(kept).items():
            if object_name not in there:
                self.objects.upload(folder / hidden_name(shown), object_name)
        self.objects.write(f"{partial(address)}/{MANIFEST}", kept.as_bytes())
        write_whole(folder / KEPT, lambda path: path.write_bytes(kept.as_bytes()))
        for stale in there - set(kept_objects(kept).values()):
            self.objects.delete(stale)

    def commit(self, address: str, origin: Mapping[str, Any], cost: Cost | None = None) -> Path:
        folder = self._folder(address)
        hold(folder)
        with locked(folder.with_suffix(".lock")):  # who sees the manifest waits until the folder is in its place
            if not self.has(address):
                self._complete(address, origin, cost)
            self._tidy(address)
        make_room(local_folder("stores"), folder)
        return self.verified(address)

    def give_up(self, address: str) -> None:
        workspace = self._workspace(address)
        workspace.mkdir(parents=True, exist_ok=True)
        for path in workspace.glob(".*"):
            if path.name != KEPT:
                path.unlink()
        self.keep(address)
        self._forget(address, kept_here(workspace))

    def _local(self, address: str) -> Path | None:
        """Downloaded and checked by the first of a machine's processes that needs it; the others wait."""
        content = self._content(address)
        if content is None:
            return None
        folder = self._folder(address)
        hold(folder)
        with locked(folder.with_suffix(".lock")):
            mine = folder / MANIFEST
            if is_new := not (mine.is_file() and mine.read_bytes() == content):
                manifest = read_manifest(content, address, f"{self.address}/{manifest_name(address)}")
                objects = {name: (result_object(address, entry), entry) for name, entry in manifest.files.items()}
                self._fetch(objects, folder, MANIFEST, content)
                self._tidy(address)
            mine.touch()  # used: the cache keeps it
        if is_new:
            make_room(local_folder("stores"), folder)
        return folder

    def _sound(self, look: Callable[[str], Found], address: str) -> Found:
        """What ``look`` finds; a damaged copy is fetched again, because it is only a copy."""
        try:
            return look(address)
        except RuntimeError as error:
            folder = self._folder(address)
            if f"{folder}/" not in str(error):
                raise
            _log.warning("%s: it is fetched again", error)
            discard(folder)
            return look(address)

    def _content(self, address: str) -> bytes | None:
        """The manifest, which is made once, as it is in the bucket; None if the result is not complete."""
        if address not in self._manifests:
            content = self.objects.read(manifest_name(address))
            if content is None:
                return None
            self._manifests[address] = content
        return self._manifests[address]

    def _fetch(self, objects: Mapping[str, tuple[str, FileEntry]], folder: Path, mark: str, content: bytes) -> None:
        """Make ``folder`` these objects under these names and ``content`` as ``mark``, all or nothing. Under a lock."""
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)  # of one who was killed
        new.mkdir(parents=True)
        for name, (object_name, entry) in objects.items():
            self._fetch_file(object_name, entry, new / name)
        (new / mark).write_bytes(content)
        discard(folder)
        new.rename(folder)

    def _fetch_file(self, object_name: str, entry: FileEntry, path: Path) -> None:
        if not self.objects.download(object_name, path):
            raise RuntimeError(_damaged(f"{self.address}/{object_name}", "must be there"))
        if (found := describe(path)) != entry:
            rule = f"must have {entry.size} bytes" if found.size != entry.size else "SHA-256 differs"
            raise RuntimeError(_damaged(f"{self.address}/{object_name}", rule))

    def _restore(self, kept: Manifest, folder: Path) -> None:
        """Go on from what was kept; where that is damaged, from the beginning."""
        objects = {hidden_name(shown): (name, kept.files[shown]) for shown, name in kept_objects(kept).items()}
        with locked(folder.with_suffix(".lock")):
            try:
                self._fetch(objects, folder, KEPT, kept.as_bytes())
            except RuntimeError as error:
                _log.warning("%s: the stage begins anew", error)
                discard(folder)

    def _glance(self, kept: Manifest) -> Path:
        """What can be read of what was kept, in a folder that stays as it is while somebody reads it."""
        digest = hashlib.sha256(kept.as_bytes()).hexdigest()[:16]
        folder = self._folder(kept.address).with_suffix(f".{digest}-glance")
        files = (
            (shown, name, kept.files[shown])
            for shown, name in kept_objects(kept).items()
            if hidden_name(shown) == shown
        )
        objects = {shown: (name, entry) for shown, name, entry in files if entry.size <= SMALL_BYTES}
        hold(folder)
        with locked(folder.with_suffix(".lock")):
            if not folder.is_dir():
                self._fetch(objects, folder, KEPT, kept.as_bytes())
        return folder

    def _kept(self, address: str) -> Manifest | None:
        """What was last kept of ``address``, on any machine."""
        name = f"{partial(address)}/{MANIFEST}"
        content = self.objects.read(name)
        try:
            return None if content is None else read_manifest(content, address, f"{self.address}/{name}")
        except RuntimeError as error:
            _log.warning("%s: the stage begins anew", error)
            return None

    def _complete(self, address: str, origin: Mapping[str, Any], cost: Cost | None) -> None:
        """Upload the workspace, then its manifest; what was made here need not be downloaded. Under a lock."""
        workspace, folder = self._workspace(address), self._folder(address)
        workspace.mkdir(parents=True, exist_ok=True)
        paths = [path for path in sorted(workspace.glob("[!.]*")) if path.name != MANIFEST]
        files = {path.name: describe(path) for path in paths}
        for path in paths:
            self.objects.upload(path, result_object(address, files[path.name]))
        content = Manifest(address=address, origin=dict(origin), files=files, cost=cost).as_bytes()
        if self.objects.create(manifest_name(address), content):
            self._manifests[address] = content
            self._forget(address)
            remove_hidden(workspace)
            (workspace / MANIFEST).write_bytes(content)
            discard(folder)
            workspace.rename(folder)

    def _tidy(self, address: str) -> None:
        """Nothing is left on this machine, or of its in the bucket, of the making of what is complete. Under a lock."""
        workspace = self._workspace(address)
        if workspace.is_dir():  # whoever completed it was killed then, or somebody else was faster
            self._forget(address)
            shutil.rmtree(workspace, ignore_errors=True)

    def _forget(self, address: str, kept: Manifest | None = None) -> None:
        """Remove from the bucket what was kept of ``address``, by whomever, but for ``kept``."""
        names = {f"{partial(address)}/{name}" for name in self.objects.names(partial(address))}
        needed = set() if kept is None else {f"{partial(address)}/{MANIFEST}", *kept_objects(kept).values()}
        for name in names - needed:
            self.objects.delete(name)

    def _machine(self) -> str:
        """What tells this machine's copies from others'."""
        path = self.scratch / "machine"
        with locked(path.with_suffix(".lock")):
            if not path.is_file():
                write_whole(path, lambda temporary: temporary.write_text(uuid.uuid4().hex))
        return path.read_text()

    def _folder(self, address: str) -> Path:
        return self.scratch / "stages" / address

    def _workspace(self, address: str) -> Path:
        return self._folder(address).with_suffix(".partial")


def _damaged(where: str, rule: str) -> str:
    return f"{where}: damaged: {rule}: remove {where.rpartition('/')[0]} and run again"
