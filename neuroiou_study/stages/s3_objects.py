"""Objects in a bucket: the store's documents and leases, and files up and down, through boto3.

Credentials, region and endpoint are found as boto3 finds them (``AWS_…`` variables, profiles, instance roles). A server
that is away is waited for; only one that stays away is an error. boto3 is imported when a bucket is first used.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from neuroiou_study.stages.objects import Objects, StoreUnavailableError

Result = TypeVar("Result")
PATIENCE_SECONDS = 300.0
"""*Assumed*: a server that is started again, or a network that is mended, is back by then."""
LONGEST_PAUSE_SECONDS = 5.0
_ABSENT = ("404", "NoSuchKey", "NotFound")
_EXISTS = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict")
_PASSING = ("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "RequestTimeTooSkewed")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class S3Objects(Objects):
    """The objects of ``bucket`` whose keys begin with ``prefix``, which is empty or ends with ``/``."""

    bucket: str
    prefix: str
    patience_seconds: float = PATIENCE_SECONDS
    _clients: list[Any] = field(default_factory=list, repr=False, compare=False)

    def __getstate__(self) -> tuple[str, str, float]:
        return self.bucket, self.prefix, self.patience_seconds  # a client is of its process

    def __setstate__(self, state: tuple[str, str, float]) -> None:
        for name, value in zip(("bucket", "prefix", "patience_seconds", "_clients"), (*state, []), strict=True):
            object.__setattr__(self, name, value)

    def read(self, name: str) -> bytes | None:
        def get(client: Any) -> bytes:
            content: bytes = client.get_object(**self._at(name))["Body"].read()
            return content

        return self._unless(_ABSENT, name, get)

    def write(self, name: str, content: bytes) -> None:
        self._ask(name, lambda client: client.put_object(**self._at(name), Body=content))

    def create(self, name: str, content: bytes) -> bool:
        def put(client: Any) -> bool:
            client.put_object(**self._at(name), Body=content, IfNoneMatch="*")
            return True

        # An answer may be lost after the write: what is there is then ours.
        return bool(self._unless(_EXISTS, name, put)) or self._is_ours(name, content)

    def delete(self, name: str) -> None:
        self._ask(name, lambda client: client.delete_object(**self._at(name)))

    def names(self, folder: str) -> list[str]:
        start = f"{self.prefix}{folder}/"
        keys = self._ask(folder, lambda client: list(_listed(client, self.bucket, start, "/")))
        return sorted(key.removeprefix(start) for key, _ in keys)

    def touch(self, name: str) -> None:
        content = self.read(name)
        if content is not None:
            self.write(name, content)

    def age_seconds(self, name: str) -> float | None:
        found = self._unless(_ABSENT, name, lambda client: client.head_object(**self._at(name)))
        if found is None:
            return None
        now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
        return float((now - found["LastModified"]).total_seconds())

    def has(self, name: str) -> bool:
        """Is there an object called ``name``?"""
        return self._unless(_ABSENT, name, lambda client: client.head_object(**self._at(name))) is not None

    def upload(self, path: Path, name: str) -> None:
        """``name`` is the content of the file at ``path``; a large one goes up in parts."""
        self._ask(name, lambda client: client.upload_file(str(path), self.bucket, self.prefix + name))

    def download(self, name: str, path: Path) -> bool:
        """Write ``name`` to the file at ``path``, in parts if it is large; False if it is not there."""

        def get(client: Any) -> bool:
            client.download_file(self.bucket, self.prefix + name, str(path))
            return True

        return bool(self._unless(_ABSENT, name, get))

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + name}

    def _is_ours(self, name: str, content: bytes) -> bool:
        return self.read(name) == content

    def _unless(self, codes: tuple[str, ...], name: str, call: Callable[[Any], Result]) -> Result | None:
        """What ``call`` returns; None if the server answers with one of ``codes``."""
        from botocore.exceptions import ClientError  # type: ignore[import-untyped]

        def guarded(client: Any) -> Result | None:
            try:
                return call(client)
            except ClientError as error:
                if error.response["Error"]["Code"] in codes:
                    return None
                raise

        return self._ask(name, guarded)

    def _ask(self, name: str, call: Callable[[Any], Result]) -> Result:
        """What ``call`` returns, tried again while the server is away.

        Raises StoreUnavailableError if it stays away, RuntimeError if it refuses.
        """
        from boto3.exceptions import Boto3Error  # type: ignore[import-untyped]
        from botocore.exceptions import BotoCoreError, ClientError

        where, begin = f"s3://{self.bucket}/{self.prefix}{name}", time.monotonic()
        for pause in _pauses():
            try:
                return call(self._client())
            except (BotoCoreError, ClientError, Boto3Error) as error:
                if not _may_pass(error):
                    raise RuntimeError(f"{where}: {error}: {_REMEDY}") from error
                if time.monotonic() - begin > self.patience_seconds:
                    raise StoreUnavailableError(f"{where}: {error}: {_REMEDY}") from error
                level = logging.WARNING if pause == _FIRST_PAUSE_SECONDS else logging.DEBUG
                _log.log(level, "%s: %s: waiting for it", where, error)
                time.sleep(pause)
        raise AssertionError("pauses end")

    def _client(self) -> Any:
        if not self._clients:
            self._clients.append(make_client())
        return self._clients[0]


_FIRST_PAUSE_SECONDS = 0.25
_REMEDY = "every machine must reach the bucket: check address, credentials, region and AWS_ENDPOINT_URL"


def make_client() -> Any:
    """A client for S3, with retries of its own and without checksums that servers other than Amazon's do not know."""
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    settings = Config(
        retries={"mode": "standard", "max_attempts": 4},
        connect_timeout=5,
        read_timeout=30,
        request_checksum_calculation="when_required",  # the manifest has SHA-256 of everything
        response_checksum_validation="when_required",
    )
    # A session of its own: the default one may not be shared by threads.
    return boto3.session.Session().client("s3", config=settings)


def listed(client: Any, bucket: str, start: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of ``bucket`` that begins with ``start``, with what the listing says of it."""
    return _listed(client, bucket, start, "")


def _listed(client: Any, bucket: str, start: str, delimiter: str) -> Iterator[tuple[str, dict[str, Any]]]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start, Delimiter=delimiter)
    for page in pages:
        for found in page.get("Contents", ()):
            yield found["Key"], found


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _may_pass(error: Exception) -> bool:
    """Is it the server that is away or overloaded, rather than a request that it refuses?"""
    from boto3.exceptions import S3TransferFailedError, S3UploadFailedError
    from botocore.exceptions import (
        ClientError,
        ConnectionError,
        HTTPClientError,
        IncompleteReadError,
        ResponseStreamingError,
    )

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(status >= 500 or status == 429 or error.response["Error"]["Code"] in _PASSING)
    if isinstance(error, S3UploadFailedError | S3TransferFailedError):
        cause = error.__cause__ or error.__context__
        return isinstance(cause, Exception) and _may_pass(cause)
    return isinstance(error, ConnectionError | HTTPClientError | IncompleteReadError | ResponseStreamingError)
