"""Servers as fixtures; import them into a ``conftest.py``. A test that kills a server makes one of its own."""

import os
import uuid
from collections.abc import Iterator

import boto3  # type: ignore[import-untyped]
import pytest

from tests.servers.postgres import Postgres, missing_for_postgres, postgres
from tests.servers.swift import Swift, missing_for_swift, swift


def need(missing: str | None) -> None:
    """Skip the test if something is ``missing``; fail it where nothing may be: in CI."""
    if missing is None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI: {missing}")
    pytest.skip(missing)


@pytest.fixture(scope="session")
def swift_server() -> Iterator[Swift]:
    need(missing_for_swift())
    with swift() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    need(missing_for_postgres())
    with postgres() as server:
        yield server


@pytest.fixture
def s3(swift_server: Swift, monkeypatch: pytest.MonkeyPatch) -> Swift:
    """An S3 server that this process and those it starts find in their environment."""
    for name, value in swift_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials that it first saw
    return swift_server


@pytest.fixture
def bucket(s3: Swift) -> str:
    """The name of an empty bucket of ``s3``."""
    return s3.make_bucket(f"bucket-{uuid.uuid4().hex}")


@pytest.fixture
def database(postgres_server: Postgres) -> str:
    """The URL of an empty PostgreSQL database."""
    return postgres_server.database(f"database_{uuid.uuid4().hex}")
