"""Studies that have really run, and what MLflow shows of them; made once for all tests of tracking."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.orchestrate.tracked import Played, Shown, play, shown_after_telling, tiny_study
from tests.servers.fixtures import bucket, database, postgres_server, s3, swift_server

__all__ = ["bucket", "database", "postgres_server", "s3", "swift_server"]


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A study of one seed: a complete surrogate trial, a pruned one, a failed one and a control."""
    return play(tiny_study(), tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The same study with two seeds."""
    return play(tiny_study(seeds=(3, 4)), tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that MLflow has made: making one takes seconds."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def view(one: Played, fresh_database: Path) -> Shown:
    """What MLflow shows of ``one`` after it was told from beginning to end; only to look at."""
    return shown_after_telling(one, _copy(fresh_database, fresh_database.parent / "one"))


@pytest.fixture(scope="session")
def view_of_two(two: Played, fresh_database: Path) -> Shown:
    """The same of ``two``."""
    return shown_after_telling(two, _copy(fresh_database, fresh_database.parent / "two"))


@pytest.fixture
def uri(tmp_path: Path, fresh_database: Path) -> str:
    return _copy(fresh_database, tmp_path)


def _copy(database: Path, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    return f"sqlite:///{shutil.copy(database, folder / 'mlflow.db')}"
