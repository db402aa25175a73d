"""The checks of MLflow, of Optuna's storage and of the clocks: real servers, and programs that are none."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from email.utils import formatdate
from importlib.metadata import version
from pathlib import Path

import pytest

from neuroiou_study.orchestrate.check_servers import check_clocks, check_optuna, check_tracking
from neuroiou_study.orchestrate.findings import Check, Finding, find
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.open_store import open_store
from tests.orchestrate.listeners import answering, closed_port, silent_port
from tests.orchestrate.small_disk import make_read_only, small_disk
from tests.servers.mlflow import MlflowServer, mlflow_server
from tests.servers.swift import Swift


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, fresh_database: Path) -> Iterator[MlflowServer]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(fresh_database, folder / "mlflow.db")
    with mlflow_server(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts")) as server:
        yield server


def found(check: Check) -> Finding:
    begin = time.monotonic()
    finding = find("checked", check)
    assert time.monotonic() - begin < 15, "a check takes seconds"
    return finding


def tracking(uri: str) -> Finding:
    return found(lambda: check_tracking(uri))


def test_an_mlflow_server_that_answers_passes(server: MlflowServer) -> None:
    mine = version("mlflow")
    assert tracking(server.uri) == Finding("checked", "passed", f"{server.uri}: MLflow {mine}, client {mine}")


def test_a_server_that_is_away_or_hangs_is_named_without_its_password() -> None:
    refused = tracking(f"http://me:planted@127.0.0.1:{closed_port()}")
    with silent_port() as port:
        silent = tracking(f"http://me:planted@127.0.0.1:{port}")
    assert (refused.state, silent.state) == ("failed", "failed")
    assert ": Connection refused: must be an MLflow server that answers: start it" in refused.text
    assert "timed out" in silent.text
    assert "planted" not in refused.text + silent.text


@pytest.mark.parametrize(
    ("status", "text", "says"),
    [
        (200, "2.22.0", "version '2.22.0': must be an MLflow server of the client's major version, 3."),
        (200, "<html>3. Welcome to another program</html>", "must be an MLflow server of the client's major version"),
        (404, "nothing here", "404 Not Found at /version: must be an MLflow server"),
        (401, "", "401 Unauthorized: must let this user in: set MLFLOW_TRACKING_USERNAME"),
        (403, "Invalid Host header", "403 Forbidden: must let this user in: "),
        (503, "", "503 Service Unavailable at /version"),
    ],
)
def test_what_is_no_mlflow_of_ours_is_named(status: int, text: str, says: str) -> None:
    with answering(status, text) as uri:
        finding = tracking(uri)
    assert finding.state == "failed"
    assert finding.text.startswith(f"--tracking-uri {uri}: ")
    assert says in finding.text


def test_a_wrong_uri_is_named() -> None:
    finding = tracking("file:///somewhere")
    assert (finding.state, finding.text[:36]) == ("failed", "--tracking-uri: file:///somewhere: m")


def test_a_database_is_written_to_and_not_changed(tmp_path: Path) -> None:
    assert tracking(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}").state == "passed"
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE there (number INTEGER)")
        connection.commit()
        before = path.read_bytes()
        assert tracking(f"sqlite:///{path}").state == "passed"
        connection.execute("BEGIN EXCLUSIVE")
        locked = tracking(f"sqlite:///{path}")
    assert (locked.state, "database is locked" in locked.text) == ("failed", True)
    assert path.read_bytes() == before
    path.write_bytes(b"not a database, but long enough to be one" * 100)
    assert "file is not a database" in tracking(f"sqlite:///{path}").text


def test_files_on_a_read_only_disk_are_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1024) as disk:
        make_read_only(disk)
        findings = [tracking(f"sqlite:///{disk / 'mlflow.db'}"), found(lambda: check_optuna(None, disk / "studies"))]
    for finding in findings:
        assert finding.state == "failed"
        assert finding.text.startswith(f"{disk}: Read-only file system: must be a folder that takes files")


def test_a_journal_that_can_be_written_passes(tmp_path: Path) -> None:
    assert found(lambda: check_optuna(None, tmp_path / "studies" / "tiny")).state == "passed"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "optuna.log").mkdir()
    assert found(lambda: check_optuna(None, tmp_path)).state == "failed"


def test_a_database_of_optuna_passes(database: str, tmp_path: Path) -> None:
    finding = found(lambda: check_optuna(database, tmp_path))
    assert finding.state == "passed"
    assert finding.text.endswith(": reachable, with Optuna's tables")
    password = database.split(":")[2].partition("@")[0]
    assert password not in finding.text


def test_databases_that_optuna_cannot_use_are_named_within_seconds(database: str, tmp_path: Path) -> None:
    head, _, tail = database.partition("@")
    user = head.rpartition(":")[0]
    wrong = found(lambda: check_optuna(f"{user}:planted@{tail}", tmp_path))
    away = found(lambda: check_optuna(f"{user}:planted@127.0.0.1:{closed_port()}/x", tmp_path))
    with silent_port() as port:
        silent = found(lambda: check_optuna(f"{user}:planted@127.0.0.1:{port}/x", tmp_path))
    unknown = found(lambda: check_optuna("nosql://me:planted@127.0.0.1/x", tmp_path))
    findings = (wrong, away, silent, unknown)
    assert [each.state for each in findings] == ["failed"] * 4
    says = ("password authentication failed", "Connection refused", "timeout expired", "must be a database that")
    for each, text in zip(findings, says, strict=True):
        assert text in each.text
        assert "planted" not in each.text


def test_clocks_that_agree_pass(s3: Swift, bucket: str, server: MlflowServer, tmp_path: Path) -> None:
    here = found(lambda: check_clocks(FolderStore(tmp_path), server.uri))
    assert here.state == "passed"
    assert here.text.startswith(f"{tmp_path}: ")
    assert f"; {server.uri}: " in here.text
    there = found(lambda: check_clocks(open_store(f"s3://{bucket}/x"), f"sqlite:///{tmp_path}/mlflow.db"))
    assert (there.state, there.text.startswith(f"s3://{bucket}/x: ")) == ("passed", True)


@pytest.mark.parametrize("seconds", [3600, -3600, 62, -62])
def test_a_server_an_hour_off_is_named(tmp_path: Path, seconds: int) -> None:
    date = formatdate(time.time() + seconds, usegmt=True)
    with answering(200, "OK", date) as uri:
        finding = found(lambda: check_clocks(FolderStore(tmp_path), uri))
    assert finding.state == "failed"
    assert finding.text.startswith(f"clock of {uri}: ")
    assert ("ahead of this machine" in finding.text) == (seconds > 0)


def test_a_bucket_whose_server_is_an_hour_off_is_named_though_it_refuses(
    s3: Swift, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with answering(403, "", formatdate(time.time() + 3600, usegmt=True)) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        finding = found(lambda: check_clocks(open_store("s3://bucket/x"), f"sqlite:///{tmp_path}/mlflow.db"))
    assert (finding.state, finding.text.startswith("clock of s3://bucket/x: ")) == ("failed", True)


def test_clocks_that_nobody_tells_are_skipped(s3: Swift, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port()}")
    uri = f"http://127.0.0.1:{closed_port()}"
    assert found(lambda: check_clocks(open_store("s3://bucket/x"), uri)).state == "skipped"
