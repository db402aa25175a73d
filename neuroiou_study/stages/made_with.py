"""What a study was made with: the code's version and git revision, Python, torch, the driver's machine.

Each driver notes its own once in the store, so that a report made years later, elsewhere, still knows it.
"""

import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch

from neuroiou_study import __version__
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.base import Spec
from neuroiou_study.stages.records import study_folder
from neuroiou_study.stages.store import Store

ROOT = Path(__file__).parents[2]
PACKAGE = "neuroiou-study"


class MadeWith(Spec):
    """A driver's code and machine."""

    version: str
    revision: str | None
    """Git's, ``+changed`` if files differ from it; None where the code has no git."""
    python: str
    torch: str
    machine: str
    """Operating system, processor cores, GPUs, of the driver; what stages ran on is in the ledger."""


def note_made_with(study: StudySpec, store: Store) -> None:
    """Write what this process is, unless the study has a note of the same."""
    document = here().model_dump(mode="json")
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
    if store.read_json(name := f"{_folder(study)}/{digest}.json") is None:
        store.write_json(name, document)


def made_with(study: StudySpec, store: Store) -> list[MadeWith]:
    """What all drivers of ``study`` have noted, by name."""
    documents = (store.read_json(f"{_folder(study)}/{name}") for name in store.objects.names(_folder(study)))
    return [MadeWith.model_validate(document) for document in documents if document is not None]


def here() -> MadeWith:
    """What this process is."""
    return MadeWith(
        version=__version__,
        revision=revision(),
        python=platform.python_version(),
        torch=str(torch.__version__),
        machine=", ".join([f"{platform.system()} {platform.machine()}", f"{os.cpu_count()} cores", *_gpus()]),
    )


def revision(root: Path = ROOT) -> str | None:
    """Git's revision of the code: of the repository it lies in, or of the one that pip installed it from."""
    if not (root / ".git").exists():
        return _installed_revision()
    head = _git(root, "rev-parse", "HEAD")
    has_changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{head}+changed" if head and has_changes else head or None


def _git(root: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603  our own words
    except (OSError, subprocess.SubprocessError):  # no git, or not its owner's repository: not worth a word
        return ""
    return done.stdout.strip()


def _installed_revision() -> str | None:
    """What pip noted (PEP 610)."""
    try:
        noted = distribution(PACKAGE).read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    found: str | None = json.loads(noted or "{}").get("vcs_info", {}).get("commit_id")
    return found


def _gpus() -> list[str]:
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def _folder(study: StudySpec) -> str:
    return f"{study_folder(study)}/made_with"
