"""The S3 server, and a store in a bucket of it, for the tests of stages."""

from tests.servers.fixtures import bucket, s3, swift_server
from tests.stages.buckets import on

__all__ = ["bucket", "on", "s3", "swift_server"]
