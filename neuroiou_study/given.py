"""What the arguments of a command mean: the study of a file, the store at an address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neuroiou_study.spec import StudySpec, load_study
from neuroiou_study.terminal import at_the_door

if TYPE_CHECKING:
    from neuroiou_study.stages.store import Store


def given_study(file: Path, overrides: list[str]) -> StudySpec:
    """The study of ``file``; a wrong one ends the program with exit code 2."""
    return at_the_door(lambda: load_study(file, overrides))


def given_store(address: str) -> Store:
    """The store at ``address``; a wrong one ends the program with exit code 2."""
    from neuroiou_study.stages.open_store import open_store

    return at_the_door(lambda: open_store(address))


def default_tracking(store: Store) -> str:
    """Where MLflow is if nobody says so: SQLite in the store."""
    return at_the_door(lambda: f"sqlite:///{store.scratch / 'mlflow.db'}")
