"""A real PostgreSQL: a cluster of the tests' own, on a loopback port, with a password."""

import os
import pwd
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.servers.process import Program, free_ports

OWNER = "tests"


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server with a superuser ``OWNER``."""

    port: int
    password: str
    program: Program

    @property
    def url(self) -> str:
        """Of the database ``postgres``, as SQLAlchemy wants it."""
        return self._url("postgres")

    def database(self, name: str, like: str = "template1") -> str:
        """The URL of ``name``, now an empty database or a copy of ``like``, which nobody may be using."""
        self._query(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
        return self._url(name)

    def start(self) -> None:
        """Start it on its port with what it had; it has recovered and answers when this returns."""
        self.program.start()
        self.program.wait_until(self._answers)

    def kill(self) -> None:
        """SIGKILL the postmaster and all its children."""
        self.program.kill()

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg2://{OWNER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def _answers(self) -> bool:
        import psycopg2  # type: ignore[import-untyped]

        try:
            self._query("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def _query(self, sql: str) -> None:
        import psycopg2

        connection = psycopg2.connect(self._url("postgres").replace("+psycopg2", ""))
        connection.autocommit = True  # CREATE DATABASE is none for a transaction
        try:
            connection.cursor().execute(sql)
        finally:
            connection.close()


def missing_for_postgres() -> str | None:
    """What this machine lacks for it and where that comes from; None if it lacks nothing."""
    if _program("initdb") is None:
        return "needs PostgreSQL's initdb: apt-get install postgresql"
    return None if find_spec("psycopg2") else "needs psycopg2: pip install -e '.[dev]'"


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that answers, with no databases of ours, while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        server = _make(folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder)


def _make(folder: Path) -> Postgres:
    (port,), password = free_ports(1), secrets.token_hex(16)
    _make_cluster(folder, password)
    # What a killed server wrote the kernel still has, so nothing needs to reach the disk.
    settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
    command = [_needed("postgres"), "-D", str(folder / "data"), *(f"--{setting}" for setting in settings)]
    return Postgres(port, password, Program(command, folder / "log", user=_unprivileged()))


def _make_cluster(folder: Path, password: str) -> None:
    (folder / "password").write_text(password)
    if user := _unprivileged():
        for path in (folder, folder / "password"):
            shutil.chown(path, user)
    command = [_needed("initdb"), "--pgdata", str(folder / "data"), "--username", OWNER, "--no-sync"]
    command += ["--auth=scram-sha-256", "--pwfile", str(folder / "password"), "--encoding=UTF8", "--no-locale"]
    made = Program(command, folder / "log", user=_unprivileged())
    made.start()
    assert made.process is not None
    if made.process.wait() != 0:
        raise RuntimeError(f"initdb: {made.log.read_text()}")


def _unprivileged() -> str | None:
    """Root may not run PostgreSQL: who then does."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _needed(name: str) -> str:
    path = _program(name)
    assert path is not None, missing_for_postgres()
    return path


def _program(name: str) -> str | None:
    """Debian keeps them off the PATH, one folder a version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return shutil.which(name) or (str(found[-1]) if found else None)
