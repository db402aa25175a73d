"""A store in a folder, which all processes of a file system may share."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuroiou_study.stages.files import remove_hidden, write_whole
from neuroiou_study.stages.manifest import MANIFEST, Cost, Manifest, describe
from neuroiou_study.stages.objects import FolderObjects
from neuroiou_study.stages.store import Store


class FolderStore(Store):
    """A store in the folder ``root``."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()
        self.address, self.objects = str(self.root), FolderObjects(self.root)

    @property
    def scratch(self) -> Path:
        return self.root

    def has(self, address: str) -> bool:
        return (self._complete(address) / MANIFEST).is_file()

    def started(self, address: str) -> Path | None:
        folder = self._complete(address)
        return next((path for path in (folder, folder.with_suffix(".partial")) if path.is_dir()), None)

    def workspace(self, address: str) -> Path:
        folder = self._complete(address).with_suffix(".partial")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def keep(self, address: str) -> None:
        """The workspace is in the store already."""

    def commit(self, address: str, origin: Mapping[str, Any], cost: Cost | None = None) -> Path:
        workspace, folder = self.workspace(address), self._complete(address)
        files = {path.name: describe(path) for path in sorted(workspace.glob("[!.]*")) if path.name != MANIFEST}
        manifest = Manifest(address=address, origin=dict(origin), files=files, cost=cost)
        write_whole(workspace / MANIFEST, lambda path: path.write_bytes(manifest.as_bytes()))
        try:
            workspace.rename(folder)
        except OSError:
            # Somebody who took our lease over was faster: equal address, equal content.
            if self.find(address) is None:
                raise
            shutil.rmtree(workspace)
        # Last, so that whoever is killed on the way here can be resumed.
        remove_hidden(folder)
        return folder

    def give_up(self, address: str) -> None:
        remove_hidden(self.workspace(address))

    def _local(self, address: str) -> Path | None:
        return self._complete(address) if self.has(address) else None

    def _complete(self, address: str) -> Path:
        return self.root / "stages" / address
