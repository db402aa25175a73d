"""What a study was made with."""

import subprocess
from pathlib import Path

from neuroiou_study import __version__
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.made_with import here, made_with, note_made_with, revision
from tests.studies import TINY


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_each_driver_is_noted_once(tmp_path: Path) -> None:
    study, store = StudySpec.model_validate(TINY), FolderStore(tmp_path)
    assert made_with(study, store) == []
    note_made_with(study, store)
    note_made_with(study, store)
    assert made_with(study, store) == [here()]
    assert here().version == __version__ and "cores" in here().machine


def test_the_revision_is_that_of_the_code_and_says_if_it_was_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert revision(tmp_path) == head
    (tmp_path / "code.py").write_text("2")
    assert revision(tmp_path) == f"{head}+changed"


def test_code_without_git_has_none(tmp_path: Path) -> None:
    assert revision(tmp_path) is None
