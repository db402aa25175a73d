"""Can the store be written to, and is create-if-absent kept, on which leases and results rest?"""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuroiou_study.orchestrate.findings import Outcome, nearest, passed, require_writable
from neuroiou_study.stages.objects import FolderObjects, Objects
from neuroiou_study.stages.s3_objects import S3Objects
from neuroiou_study.stages.store import Store

CONNECT_SECONDS, READ_SECONDS, PATIENCE_SECONDS = 3.0, 5.0, 2.0
"""*Assumed*: a bucket that a study can live with answers sooner."""
_FOLDER = "preflight"
_ABSENT = ("NoSuchBucket", "NoSuchKey", "404")


def check_store(store: Store) -> Outcome:
    """Write, read back, create twice, delete. Raises OSError or RuntimeError, within seconds, if it does not do that.

    Nothing of it stays but empty folders: see :func:`no_new_folders`.
    """
    objects = store.objects
    if isinstance(objects, S3Objects):
        answer_of_bucket(objects, store.address)
        objects = replace(objects, patience_seconds=PATIENCE_SECONDS)
    if isinstance(objects, FolderObjects):
        require_writable(objects.root)
    with _leaving_nothing(objects) as name:
        require_sound(objects, name, store.address)
    return passed(f"{store.address}: writable; a name is created once")


def require_sound(objects: Objects, name: str, address: str) -> None:
    """Raise RuntimeError, *where: value: rule: remedy*, if ``objects`` lose what ``name`` is or let two create it."""
    first, second = uuid.uuid4().bytes, uuid.uuid4().bytes
    objects.write(f"{name}-written", first)
    if objects.read(f"{name}-written") != first:
        raise RuntimeError(f"{address}: read other bytes than were written: must give them back: choose another store")
    created, again = objects.create(f"{name}-created", first), objects.create(f"{name}-created", second)
    if not created or again or objects.read(f"{name}-created") != first:
        rule = "must refuse a name that is there (If-None-Match: *, O_EXCL), or two writers may both win"
        raise RuntimeError(f"{address}: creates one name twice: {rule}: choose another store or server")


@contextlib.contextmanager
def _leaving_nothing(objects: Objects) -> Iterator[str]:
    """A new name; what begins with it is gone after the block."""
    name = f"{_FOLDER}/{uuid.uuid4().hex}"
    try:
        yield name
    finally:
        for kind in ("written", "created"):
            objects.delete(f"{name}-{kind}")


@contextlib.contextmanager
def no_new_folders(store: Store) -> Iterator[None]:
    """After the block the empty folders that checks in it have made are gone, the store's own among them."""
    made = _not_there(store.objects.root / _FOLDER) if isinstance(store.objects, FolderObjects) else []
    try:
        yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # somebody else has put something there
                folder.rmdir()


def _not_there(folder: Path) -> list[Path]:
    """``folder`` and those above it that are not there, from the lowest upwards."""
    there = nearest(folder)
    return [each for each in (folder, *folder.parents) if each != there and each not in there.parents]


def answer_of_bucket(objects: S3Objects, address: str) -> str:
    """The ``Date`` of a server that lets us list the bucket.

    Raises OSError if nobody answers and RuntimeError if it refuses, *where: value: rule: remedy*, within seconds.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    try:
        answer = _client().list_objects_v2(Bucket=objects.bucket, Prefix=objects.prefix, MaxKeys=1)
    except ClientError as error:
        raise RuntimeError(f"{address}: {_refusal(error)}") from None
    except BotoCoreError as error:
        rule = "must be reachable from every machine, with credentials"
        raise OSError(f"{address}: {error}: {rule}: start the server, or set AWS_ENDPOINT_URL and the keys") from None
    return _date(answer)


def date_of_bucket(objects: S3Objects) -> str | None:
    """The ``Date`` of the server, also of one that refuses, because the clocks differ for example; None without one."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return _date(_client().list_objects_v2(Bucket=objects.bucket, Prefix=objects.prefix, MaxKeys=1)) or None
    except ClientError as error:
        return _date(error.response) or None
    except (BotoCoreError, ValueError):
        return None


def _date(answer: dict[str, Any]) -> str:
    headers: dict[str, str] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers.get("date", "")


def _refusal(error: Any) -> str:
    code, message = (error.response["Error"].get(key, "") for key in ("Code", "Message"))
    if code in _ABSENT:
        return f"{code}: the bucket must be there before the study: create it or correct --store"
    if code == "RequestTimeTooSkewed":
        return f"{code}: the clocks must agree: set this machine's clock"
    rule = "the credentials must allow to list, read, write and delete"
    return f"{code}: {message}: {rule}: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the role"


def _client() -> Any:
    """One that gives up at once: the study's own waits for minutes."""
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    once = {"mode": "standard", "total_max_attempts": 1}
    settings = Config(retries=once, connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
    try:
        return boto3.session.Session().client("s3", config=settings)
    except ValueError as error:
        raise ValueError(f"AWS_ENDPOINT_URL: {error}: must be http(s)://host: correct it") from None
