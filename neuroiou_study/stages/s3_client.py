"""A client for S3, and what its errors mean. boto3, which takes a second to import, is imported when it is needed."""

import re
from typing import Any

CONNECTIONS = 32
_TRIES = 3
"""Of each request, by boto3: for the connection that breaks now and then."""
_PASSING = (
    "ConditionalRequestConflict",  # another write of that name is under way
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
)


def make_client() -> Any:
    """A client for S3, without checksums that servers other than Amazon's do not know.

    Raises RuntimeError for an endpoint that is none.
    """
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    settings = Config(
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        connect_timeout=5,
        read_timeout=20,
        max_pool_connections=CONNECTIONS,
        request_checksum_calculation="when_required",  # the manifest has SHA-256 of everything
        response_checksum_validation="when_required",
    )
    try:
        # A session of its own: the default one may not be shared by threads.
        return boto3.session.Session().client("s3", config=settings)
    except ValueError as error:
        raise RuntimeError(f"AWS_ENDPOINT_URL: {said(error)}: must be http(s)://host: correct it") from error


def failures() -> tuple[type[Exception], ...]:
    """What boto3 raises where a server is away or refuses."""
    from boto3.exceptions import Boto3Error  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    return BotoCoreError, ClientError, Boto3Error


def may_pass(error: BaseException | None) -> bool:
    """Is it the server that is away or overloaded, rather than a request that it refuses?"""
    from boto3.exceptions import RetriesExceededError, S3UploadFailedError
    from botocore import exceptions  # type: ignore[import-untyped]

    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return bool(status >= 500 or status == 429 or error.response["Error"]["Code"] in _PASSING)
    if isinstance(error, RetriesExceededError):
        return may_pass(error.last_exception)
    if isinstance(error, S3UploadFailedError):
        return may_pass(error.__context__)
    broken = (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError)
    return isinstance(error, (*broken, exceptions.ResponseStreamingError, OSError))


def lacks_bucket(error: Exception) -> bool:
    """Does the server say that there is no such bucket? One of which a part is away says so too."""
    code: str = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return code == "NoSuchBucket"


def said(error: Exception) -> str:
    """The message of ``error`` without the user and password that an endpoint's URL may hold."""
    return re.sub(r"[^/\s\"']+@", "", str(error))
