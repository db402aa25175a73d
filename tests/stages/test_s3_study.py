"""A whole study in a bucket reports what the same study in a folder does."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.studies import call, write_study

_TIMES = ("seconds", "hours", "at", "time", "created", "cost")


def test_a_study_in_a_bucket_is_one_in_a_folder(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROIOU_CACHE", str(tmp_path / "cache"))
    study, stores = write_study(tmp_path), (str(tmp_path / "store"), f"s3://{bucket}/some/where")
    for store in stores:
        done = call("run", study, "--store", store, "--backend", "local")
        assert done.returncode == 0, done.stderr
    folder, there = (reported(study, store) for store in stores)
    assert there == folder and folder
    shutil.rmtree(tmp_path / "cache")  # as on another machine
    assert reported(study, stores[1]) == folder


def reported(study: Path, store: str) -> Any:
    """The report as data, but for times."""
    done = call("report", study, "--store", store, "--json")
    assert done.returncode == 0, done.stderr
    return _timeless(json.loads(done.stdout))


def _timeless(document: Any) -> Any:
    if isinstance(document, dict):
        kept = {name: value for name, value in document.items() if not name.endswith(_TIMES)}
        return {name: _timeless(value) for name, value in kept.items()}
    return [_timeless(each) for each in document] if isinstance(document, list) else document
