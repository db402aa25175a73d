"""Planted secrets: a study on servers with passwords leaves them in no file, log, run or message."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from neuroiou_study.stages.open_store import open_store
from neuroiou_study.stages.s3_objects import S3Objects, listed, make_client
from tests.servers.mlflow import mlflow_server
from tests.studies import call, write_study


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[str]:
    with mlflow_server(f"sqlite:///{tmp_path / 'server.db'}", str(tmp_path / "artifacts")) as server:
        yield server.uri


@pytest.fixture
def ray_logs() -> Iterator[Path]:
    """Where Ray writes what it does; the names of its sockets must be short."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_no_secret_is_left_anywhere(
    tmp_path: Path, ray_logs: Path, tracking: str, bucket: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROIOU_OPTUNA_STORAGE", database)
    monkeypatch.setenv("NEUROIOU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAY_TMPDIR", str(ray_logs))
    uri = tracking.replace("http://", "http://planteduser:plantedpassword@")
    secrets = ["plantedpassword", os.environ["AWS_SECRET_ACCESS_KEY"], password_of(database)]
    study = write_study(tmp_path, controls={}, budget={"max_trials": 1})
    options = ("--store", f"s3://{bucket}/runs", "--tracking-uri", uri)
    # By Ray, so that its files are looked through too.
    runs = [call("doctor", study, *options), call("run", study, *options), call("status", study, *options[:2])]
    assert [each.returncode for each in runs] == [0, 0, 0], [each.stderr for each in runs]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "plantedwrongkey")
    wrong = [call("doctor", study, *options), call("run", study, *options)]
    assert [each.returncode for each in wrong] == [2, 2]
    monkeypatch.undo()
    texts = {f"output {index}": (each.stdout + each.stderr).encode() for index, each in enumerate([*runs, *wrong])}
    texts |= {str(path): path.read_bytes() for folder in (tmp_path, ray_logs) for path in files(folder)}
    assert any("/logs/" in name for name in texts)
    for name, content in texts.items():
        for secret in [*secrets, "plantedwrongkey"]:
            assert secret.encode() not in content, f"{name} has {secret}"


def password_of(url: str) -> str:
    return url.partition("://")[2].partition("@")[0].partition(":")[2]


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def test_no_secret_is_in_the_bucket_or_in_mlflow(
    tmp_path: Path, tracking: str, bucket: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROIOU_OPTUNA_STORAGE", database)
    study = write_study(tmp_path, controls={}, budget={"max_trials": 1})
    done = call("run", study, "--store", f"s3://{bucket}/runs", "--tracking-uri", tracking, "--backend", "local")
    assert done.returncode == 0, done.stderr
    objects = open_store(f"s3://{bucket}/runs").objects
    assert isinstance(objects, S3Objects)
    secrets = [os.environ["AWS_SECRET_ACCESS_KEY"].encode(), password_of(database).encode()]
    client = make_client()
    for key, _ in listed(client, bucket, ""):
        content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert not any(secret in content for secret in secrets), key
    mlflow = MlflowClient(tracking)
    for experiment in mlflow.search_experiments():
        for run in mlflow.search_runs([experiment.experiment_id]):
            shown = str(run.to_dictionary()).encode()
            assert not any(secret in shown for secret in secrets), run.info.run_name
