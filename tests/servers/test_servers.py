"""The servers of the tests are real: they keep what they confirmed when they are killed, and S3 is what S3 is."""

import io
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import psutil
import pytest
import sqlalchemy
from boto3.s3.transfer import TransferConfig  # type: ignore[import-untyped]
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from mlflow import MlflowClient

from tests.servers.fixtures import need
from tests.servers.mlflow import mlflow_server
from tests.servers.postgres import Postgres, missing_for_postgres, postgres
from tests.servers.process import accepts, is_running
from tests.servers.swift import Swift, missing_for_swift, swift

MIB = 2**20


def test_an_object_can_be_written_read_listed_and_deleted(bucket: str) -> None:
    client = boto3.client("s3")  # by the environment alone
    for name in ("a/1", "a/2", "b/1"):
        client.put_object(Bucket=bucket, Key=name, Body=name.encode())
    assert client.get_object(Bucket=bucket, Key="a/2")["Body"].read() == b"a/2"
    age = datetime.now(UTC) - client.head_object(Bucket=bucket, Key="a/2")["LastModified"]
    assert timedelta(seconds=-1) <= age < timedelta(seconds=60)  # Swift rounds up
    client.delete_object(Bucket=bucket, Key="a/2")
    found = client.list_objects_v2(Bucket=bucket, Prefix="a/")
    assert [(item["Key"], item["Size"]) for item in found["Contents"]] == [("a/1", 3)]
    with pytest.raises(ClientError) as error:
        client.head_object(Bucket=bucket, Key="a/2")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_many_objects_are_listed_a_page_at_a_time(bucket: str, s3: Swift) -> None:
    client = s3.client()
    names = [f"{number:03d}" for number in range(25)]
    for name in names:
        client.put_object(Bucket=bucket, Key=name, Body=b"")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 10})
    assert [[item["Key"] for item in page["Contents"]] for page in pages] == [names[:10], names[10:20], names[20:]]


def test_a_large_object_goes_up_in_parts_and_comes_down_whole(bucket: str, s3: Swift) -> None:
    content = bytes(range(256)) * (11 * MIB // 256)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    client = s3.client()
    client.upload_fileobj(io.BytesIO(content), bucket, "large", Config=parts)
    assert client.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')
    down = io.BytesIO()
    client.download_fileobj(bucket, "large", down, Config=parts)
    assert down.getvalue() == content


def test_what_exists_is_not_created_again(bucket: str, s3: Swift) -> None:
    client = s3.client()
    client.put_object(Bucket=bucket, Key="manifest", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        client.put_object(Bucket=bucket, Key="manifest", Body=b"second", IfNoneMatch="*")
    assert error.value.response["Error"]["Code"] == "PreconditionFailed"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert client.get_object(Bucket=bucket, Key="manifest")["Body"].read() == b"first"


def test_of_writers_at_the_same_time_one_creates(bucket: str, s3: Swift) -> None:
    clients = [s3.client(retries={"total_max_attempts": 1}) for _ in range(6)]
    for attempt in range(10):  # without the filter of ours most of them have several winners
        winners = _create_at_once(clients, bucket, f"lease-{attempt}")
        content = clients[0].get_object(Bucket=bucket, Key=f"lease-{attempt}")["Body"].read()
        assert [content] == winners


def _create_at_once(clients: list[Any], bucket: str, name: str) -> list[bytes]:
    """What each of those wrote who were told that they created ``name``."""
    together, winners = threading.Barrier(len(clients)), list[bytes]()

    def create(number: int, client: Any) -> None:
        together.wait()
        try:
            client.put_object(Bucket=bucket, Key=name, Body=b"%d" % number, IfNoneMatch="*")
            winners.append(b"%d" % number)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"

    threads = [threading.Thread(target=create, args=item) for item in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return winners


def test_wrong_keys_are_refused(bucket: str, s3: Swift) -> None:
    wrong = {"endpoint_url": s3.endpoint, "aws_access_key_id": "tests:user", "aws_secret_access_key": "wrong"}
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        boto3.client("s3", **wrong).list_objects_v2(Bucket=bucket)


def test_a_database_is_empty_or_like_another(postgres_server: Postgres) -> None:
    first = postgres_server.database("first")
    _execute(first, "CREATE TABLE numbers (number int)", "INSERT INTO numbers VALUES (3)")
    assert _numbers(postgres_server.database("second", like="first")) == [3]
    with pytest.raises(sqlalchemy.exc.ProgrammingError, match="does not exist"):
        _numbers(postgres_server.database("third"))


def _execute(url: str, *statements: str) -> None:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))


def _numbers(url: str) -> list[int]:
    with sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect() as connection:
        return list(connection.scalars(sqlalchemy.text("SELECT number FROM numbers")))


def test_a_killed_database_server_is_gone_and_comes_back_with_what_was_committed() -> None:
    need(missing_for_postgres())
    with postgres() as server:
        assert server.program.process is not None
        url = server.database("kept")
        _execute(url, "CREATE TABLE numbers (number int)", "INSERT INTO numbers VALUES (7)")
        family = psutil.Process(server.program.process.pid).children(recursive=True)
        assert family
        server.kill()
        assert not accepts(server.port)
        assert not any(is_running(member) for member in family)
        server.start()
        assert _numbers(url) == [7]


def test_tracking_survives_that_all_its_servers_are_killed(tmp_path: Path) -> None:
    need(missing_for_postgres())
    need(missing_for_swift())
    with postgres() as database, swift() as s3:
        bucket = s3.make_bucket("artifacts")
        with mlflow_server(database.database("mlflow"), f"s3://{bucket}/mlflow", s3.environment) as server:
            client = MlflowClient(server.uri)
            run = client.create_run(client.create_experiment("study")).info.run_id
            client.log_metric(run, "miou", 0.75, step=3)
            (tmp_path / "note").write_text("kept")
            client.log_artifact(run, str(tmp_path / "note"))
            for each in (server, database, s3):
                each.kill()
            for each in (s3, database, server):
                each.start()
            history = client.get_metric_history(run, "miou")
            assert [(metric.step, metric.value) for metric in history] == [(3, 0.75)]
            assert Path(client.download_artifacts(run, "note", str(tmp_path))).read_text() == "kept"
        objects = s3.client().list_objects_v2(Bucket=bucket)["Contents"]
        assert [item["Key"].rpartition("/")[2] for item in objects] == ["note"]


def test_a_server_program_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="nowhere"), mlflow_server("nowhere://", str(tmp_path)):
        pass


@pytest.mark.parametrize(("where", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_missing_program_is_an_error_in_ci_only(
    where: str, outcome: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", where)
    with pytest.raises(outcome, match="apt-get install postgresql"):
        need("needs PostgreSQL's initdb: apt-get install postgresql")
