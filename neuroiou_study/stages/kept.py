"""What a bucket keeps of a workspace, and under which names."""

import re
from pathlib import Path

from neuroiou_study.stages.manifest import FileEntry, Manifest

KEPT = ".kept.json"
MACHINE = "machine"
_DOT = "dot-"
"""What stands for the dot of a hidden file where names may not have one."""


def shown_name(path: Path) -> str:
    """The name of a file of a workspace as a manifest may have it."""
    return re.sub(r"^\.", _DOT, path.name)


def hidden_name(name: str) -> str:
    """The file's own name again."""
    return re.sub(f"^{_DOT}", ".", name)


def partial(address: str) -> str:
    """Where in the bucket the workspace of ``address`` is kept."""
    return f"stages/{address}.partial"


def result_object(address: str, entry: FileEntry) -> str:
    """Where in the bucket a file of the complete result is."""
    return f"stages/{address}/{entry.sha256}"


def kept_objects(kept: Manifest) -> dict[str, str]:
    """Where in the bucket each file of ``kept`` is."""
    folder, machine = partial(kept.address), kept.origin[MACHINE]
    return {name: f"{folder}/{machine}-{entry.sha256}" for name, entry in kept.files.items()}


def kept_here(workspace: Path) -> Manifest | None:
    """What was last kept of ``workspace``, or what it was restored from."""
    path = workspace / KEPT
    return Manifest.model_validate_json(path.read_bytes()) if path.is_file() else None


def is_of(workspace: Path, kept: Manifest | None) -> bool:
    """Has nobody kept anything since ``workspace`` was kept or restored?"""
    return kept is None or kept_here(workspace) == kept
