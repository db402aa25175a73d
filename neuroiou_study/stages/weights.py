"""A file of weights, from a path or an object store."""

import fcntl
import hashlib
import uuid
from pathlib import Path
from typing import Any

from neuroiou_study.stages.local_folder import local_folder

_SCHEME = "s3://"


def weights_file(address: str) -> Path:
    """The local file of the weights at ``address``: a path, or ``s3://bucket/key``.

    An object is downloaded once for each machine and user, to ``~/.cache/neuroiou-study/weights`` (``NEUROIOU_CACHE``
    moves it), and is taken from there afterwards: give a changed object another key. boto3 finds credentials and
    endpoint (``AWS_ENDPOINT_URL``). Raises ValueError for another kind of address, RuntimeError if nothing comes.
    """
    if not address.startswith(_SCHEME):
        if "://" in address:
            raise ValueError(f"model.weights: {address}: must be a path or s3://bucket/key: download the file")
        return Path(address).expanduser()
    bucket, _, key = address.removeprefix(_SCHEME).partition("/")
    if not bucket or not key or key.endswith("/"):
        raise ValueError(f"model.weights: {address}: must be s3://bucket/key of a file: complete it")
    cached = local_folder("weights") / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{Path(key).name}"
    _fill(cached, address, bucket, key)
    return cached


def _fill(cached: Path, address: str, bucket: str, key: str) -> None:
    """See that ``cached`` is there, and whole; of a machine's workers the first downloads it and the others wait."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    with cached.with_name(f".{cached.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with its process
        if not cached.is_file():
            _download(cached, address, bucket, key)


def _download(cached: Path, address: str, bucket: str, key: str) -> None:
    # Here, because the import takes a second and few runs need it.
    from boto3.exceptions import Boto3Error  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    temporary = cached.with_name(f".{uuid.uuid4().hex}")
    try:
        _client().download_file(bucket, key, str(temporary))
        temporary.replace(cached)
    except (BotoCoreError, ClientError, Boto3Error) as error:
        remedy = "check the address, and this machine's credentials, region and AWS_ENDPOINT_URL"
        raise RuntimeError(
            f"model.weights: {address}: {error}: every node must be able to read it: {remedy}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _client() -> Any:
    import boto3  # type: ignore[import-untyped]

    return boto3.client("s3")
