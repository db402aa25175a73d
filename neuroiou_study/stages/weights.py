"""A file of weights, from a path or an object store."""

import hashlib
import uuid
from pathlib import Path

from neuroiou_study.stages.alone import locked
from neuroiou_study.stages.local_folder import local_folder
from neuroiou_study.stages.s3_client import failures, make_client, said

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
    with locked(cached.with_name(f".{cached.name}.lock")):
        if not cached.is_file():
            _download(cached, address, bucket, key)


def _download(cached: Path, address: str, bucket: str, key: str) -> None:
    temporary = cached.with_name(f".{uuid.uuid4().hex}")
    try:
        make_client().download_file(bucket, key, str(temporary))
        temporary.replace(cached)
    except failures() as error:
        remedy = "check the address, and this machine's credentials, region and AWS_ENDPOINT_URL"
        raise RuntimeError(
            f"model.weights: {address}: {said(error)}: every node must be able to read it: {remedy}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
