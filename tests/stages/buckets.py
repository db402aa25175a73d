"""A store in a bucket, seen from machines of any number."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from neuroiou_study.stages.manifest import MANIFEST
from neuroiou_study.stages.s3_store import S3Store
from tests.stages.test_store import ADDRESS

PARTIAL = f"stages/{ADDRESS}.partial"
On = Callable[[str], S3Store]


@pytest.fixture
def on(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> On:
    """Opens the store on a machine of this name: calls it last and use what it returns until the next call."""

    def machine(name: str) -> S3Store:
        monkeypatch.setenv("NEUROIOU_CACHE", str(tmp_path / name))
        return S3Store(f"s3://{bucket}/some/prefix")

    return machine


def make(store: S3Store, text: str = "weights") -> Path:
    (store.workspace(ADDRESS) / "model").write_text(text)
    return store.commit(ADDRESS, {"version": 1})


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name not in (MANIFEST, ".kept.json")}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
