"""The S3 server, for the tests of stages."""

from tests.servers.fixtures import bucket, s3, swift_server

__all__ = ["bucket", "s3", "swift_server"]
