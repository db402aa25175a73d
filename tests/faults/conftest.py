"""The servers, for the tests of faults."""

from tests.servers.fixtures import bucket, database, postgres_server, s3, swift_server

__all__ = ["bucket", "database", "postgres_server", "s3", "swift_server"]
