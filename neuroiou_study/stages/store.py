"""The store: folders that appear whole or not at all, found by the address of their content.

Layout::

    <root>/stages/<stage>/<hash>/            complete: manifest.json is there, and lists size and SHA-256 of every file
    <root>/stages/<stage>/<hash>.partial/    being made; survives its maker, so that another can resume; hidden files
                                             in it, such as checkpoints, are the maker's and end with the making
    <root>/leases/…                          who is making what
    <root>/studies/<identity>/               what a study has recorded (``records.py``)
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuroiou_study.stages.lease import Lease, holder, try_lease

MANIFEST = "manifest.json"


class Store:
    """A store in the folder ``root``, created when first written to; all processes of a file system may share it."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()

    def find(self, address: str) -> Path | None:
        """The complete folder at ``address``, or None. Raises RuntimeError if a file of it is missing or cut short."""
        folder = self._complete(address)
        if not self.has(address):
            return None
        for name, entry in _files(folder).items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != entry["size"]:
                raise RuntimeError(f"{path}: damaged: must have {entry['size']} bytes: remove {folder} and run again")
        return folder

    def has(self, address: str) -> bool:
        """Is there a complete folder at ``address``, sound or damaged?"""
        return (self._complete(address) / MANIFEST).is_file()

    def started(self, address: str) -> Path | None:
        """The folder at ``address``, complete or not; None if nobody has begun it."""
        folder = self._complete(address)
        return next((path for path in (folder, folder.with_suffix(".partial")) if path.is_dir()), None)

    def workspace(self, address: str) -> Path:
        """The folder in which ``address`` is made; what an interrupted maker left in it is still there."""
        folder = self._complete(address).with_suffix(".partial")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def commit(self, address: str, origin: Mapping[str, Any]) -> Path:
        """Make the workspace of ``address`` its complete folder, in one step; ``origin`` says what it was made from."""
        workspace, folder = self.workspace(address), self._complete(address)
        files = {path.name: _describe(path) for path in sorted(workspace.glob("[!.]*")) if path.name != MANIFEST}
        write_json(workspace / MANIFEST, {"address": address, "origin": dict(origin), "files": files})
        try:
            workspace.rename(folder)
        except OSError:
            # Somebody who took our lease over was faster: equal address, equal content.
            if self.find(address) is None:
                raise
            shutil.rmtree(workspace)
        # Last, so that whoever is killed on the way here can be resumed.
        _remove_hidden(folder)
        return folder

    def give_up(self, address: str) -> None:
        """Remove from the workspace of ``address`` what it would have been resumed from; its history stays."""
        _remove_hidden(self.workspace(address))

    def verify(self, address: str) -> None:
        """Raise RuntimeError naming the first file of ``address`` whose content is not what was committed."""
        folder = self.find(address)
        if folder is None:
            raise RuntimeError(f"{address}: not in {self.root}: must be complete: run the study again")
        for name, entry in _files(folder).items():
            if _sha256(folder / name) != entry["sha256"]:
                raise RuntimeError(f"{folder / name}: damaged: SHA-256 differs: remove {folder} and run again")

    def try_lease(self, name: str) -> Lease | None:
        """The right to make ``name``, or None while somebody alive has it."""
        return try_lease(self.root / "leases" / name)

    def lease_holder(self, name: str) -> str | None:
        """Who makes ``name`` now, for a person to read; None if nobody does."""
        return holder(self.root / "leases" / name)

    def study_folder(self, identity: str) -> Path:
        """Where a study's records are or will be."""
        return self.root / "studies" / identity

    def _complete(self, address: str) -> Path:
        return self.root / "stages" / address


def open_store(address: str) -> Store:
    """The store at a path. Raises ValueError for an address that is not one."""
    if "://" in address:
        raise ValueError(f"--store {address}: only a folder is supported yet: give a path that all nodes share")
    return Store(address)


def write_json(path: Path, document: object) -> None:
    """Write ``document`` so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(path)


def _remove_hidden(folder: Path) -> None:
    for path in folder.glob(".*"):
        path.unlink(missing_ok=True)


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        files: dict[str, dict[str, Any]] = json.loads((folder / MANIFEST).read_text())["files"]
    except (ValueError, LookupError, TypeError) as error:
        path = folder / MANIFEST
        raise RuntimeError(f"{path}: damaged: must list the files: remove {folder} and run again") from error
    return files


def _describe(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
