"""The store: results that appear whole or not at all, found by the address of their content; documents; leases.

Layout, in a folder (``folder_store.py``) as in a bucket (``s3_store.py``)::

    stages/<stage>/<hash>/            complete: manifest.json is there, and lists size and SHA-256 of every file
    stages/<stage>/<hash>.partial/    being made; survives its maker, so that another can resume; hidden files in it,
                                      such as checkpoints, are the maker's and end with the making
    leases/…                          who is making what
    studies/<identity>/               what a study has recorded (``records.py``)
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuroiou_study.stages import lease
from neuroiou_study.stages.lease import Lease
from neuroiou_study.stages.manifest import MANIFEST, Cost, Manifest, read_manifest, require_intact
from neuroiou_study.stages.objects import Objects

SMALL_BYTES = 1 << 20
"""A file of so many bytes is held against its SHA-256 whenever it is found; larger ones when they are inputs."""


class Store(ABC):
    """A store, created when first written to and shared by all processes that know its ``address``."""

    address: str
    """Where it is, for people: a folder, or s3://bucket/prefix."""
    objects: Objects
    """Its documents and leases."""
    poll_seconds = 0.2
    """How often to look whether another process has finished a result."""

    @property
    @abstractmethod
    def scratch(self) -> Path:
        """A folder of this machine for what belongs to the store and need not last."""

    def find(self, address: str) -> Path | None:
        """The complete folder at ``address`` on this machine, or None.

        Raises RuntimeError if a file of it is missing or cut short, or a small one has changed.
        """
        folder = self._local(address)
        if folder is not None:
            for name, entry in self._manifest(folder, address).files.items():
                require_intact(folder / name, entry, whole=entry.size <= SMALL_BYTES)
        return folder

    def verified(self, address: str) -> Path:
        """The complete folder at ``address``. Raises RuntimeError if it is not there or any file of it has changed."""
        folder = self._local(address)
        if folder is None:
            raise RuntimeError(f"{address}: not in {self.address}: must be complete: run the study again")
        for name, entry in self._manifest(folder, address).files.items():
            require_intact(folder / name, entry)
        return folder

    def manifest(self, address: str) -> Manifest | None:
        """What the complete result at ``address`` consists of, or None."""
        content = self.objects.read(manifest_name(address))
        return None if content is None else read_manifest(content, address, f"{self.address}/stages/{address}")

    @abstractmethod
    def has(self, address: str) -> bool:
        """Is there a complete result at ``address``, sound or damaged?"""

    @abstractmethod
    def started(self, address: str) -> Path | None:
        """A folder with what can be read at ``address``, complete or not; None if nobody has begun it."""

    @abstractmethod
    def workspace(self, address: str) -> Path:
        """The folder in which ``address`` is made; what an interrupted maker kept is in it."""

    def hurried(self) -> "Store":
        """The same store, for what may fail: StoreUnavailableError comes within seconds where it is away."""
        return self

    @abstractmethod
    def keep(self, address: str) -> None:
        """What is in the workspace of ``address`` now outlives this machine."""

    @abstractmethod
    def commit(self, address: str, origin: Mapping[str, Any], cost: Cost | None = None) -> Path:
        """Make the workspace of ``address`` its complete folder, in one step; ``origin`` says what it was made from."""

    @abstractmethod
    def give_up(self, address: str) -> None:
        """Remove from the workspace of ``address`` what it would have been resumed from; its history stays."""

    def try_lease(self, name: str) -> Lease | None:
        """The right to make ``name``, or None while somebody alive has it."""
        return lease.try_lease(self.objects, f"leases/{name}")

    def lease_holder(self, name: str) -> str | None:
        """Who makes ``name`` now, for a person to read; None if nobody does."""
        return lease.holder(self.objects, f"leases/{name}")

    def read_json(self, name: str) -> Any:
        """The document called ``name``, or None. Raises RuntimeError if it is no JSON."""
        content = self.objects.read(name)
        try:
            return None if content is None else json.loads(content)
        except ValueError as error:
            where = f"{self.address}/{name}"
            raise RuntimeError(f"{where}: {error}: damaged: must be JSON: remove it and run again") from error

    def write_json(self, name: str, document: object) -> None:
        """The document called ``name`` is ``document``, in one step."""
        self.objects.write(name, json.dumps(document, indent=1).encode() + b"\n")

    @abstractmethod
    def _local(self, address: str) -> Path | None:
        """The folder of the complete result on this machine, unchecked; None if there is no such result."""

    def _manifest(self, folder: Path, address: str) -> Manifest:
        path = folder / MANIFEST
        return read_manifest(path.read_bytes(), address, str(path))


def manifest_name(address: str) -> str:
    """The name of the manifest of ``address``."""
    return f"stages/{address}/{MANIFEST}"
