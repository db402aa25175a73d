"""Objects in a bucket: the store's documents and leases, and files up and down, through boto3.

Credentials, region and endpoint are found as boto3 finds them (``AWS_…`` variables, profiles, instance roles). A server
that is away is waited for; only one that stays away is an error. boto3 is imported when a bucket is first used.
"""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from neuroiou_study.stages.objects import Objects, StoreUnavailableError
from neuroiou_study.stages.s3_client import failures, lacks_bucket, make_client, may_pass, said

__all__ = ["PATIENCE_SECONDS", "S3Objects", "listed", "make_client"]
Result = TypeVar("Result")
PATIENCE_SECONDS = 300.0
"""*Assumed*: a server that is started again, or a network that is mended, is back by then."""
HURRY_SECONDS = 3.0
"""… and for what may fail."""
PART_BYTES = 8 << 20
"""More than this goes up and down in parts, several at a time; boto3's default."""
BUCKET_SECONDS = 3.0
"""A server that starts may not see a bucket yet: for so long it is asked again; *measured* on Swift: 1 to 2."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0
_ABSENT = ("404", "NoSuchKey", "NotFound")
_EXISTS = ("412", "PreconditionFailed")
_REMEDY = "every machine must reach the bucket: check address, credentials, region and AWS_ENDPOINT_URL"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class S3Objects(Objects):
    """The objects of ``bucket`` whose keys begin with ``prefix``, which is empty or ends with ``/``.

    Everything raises StoreUnavailableError if the server stays away for ``patience_seconds``, and RuntimeError, at
    once, if it refuses: no such bucket, wrong credentials.
    """

    bucket: str
    prefix: str
    patience_seconds: float = PATIENCE_SECONDS
    _clients: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)
    _answered: list[bool] = field(default_factory=list, repr=False, compare=False)
    """Not empty once the server has answered, so that there is such a bucket."""

    def __getstate__(self) -> tuple[str, str, float]:
        return self.bucket, self.prefix, self.patience_seconds  # a client is of its process

    def __setstate__(self, state: tuple[str, str, float]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def read(self, name: str) -> bytes | None:
        return self._unless(_ABSENT, name, lambda client: self._content(client, name))

    def write(self, name: str, content: bytes) -> None:
        self._ask(name, lambda client: client.put_object(**self._at(name), Body=content))

    def create(self, name: str, content: bytes) -> bool:
        mine = {"writer": uuid.uuid4().hex}  # others may write equal content

        def put(client: Any) -> bool:
            client.put_object(**self._at(name), Body=content, IfNoneMatch="*", Metadata=mine)
            return True

        if self._unless(_EXISTS, name, put):
            return True
        head = self._unless(_ABSENT, name, lambda client: client.head_object(**self._at(name)))
        if head is None or head["Metadata"] != mine:
            return False
        # Ours: the answer was lost. Once more, for a server that died after writing it and before listing it.
        self._ask(name, lambda client: client.put_object(**self._at(name), Body=content, Metadata=mine))
        return True

    def delete(self, name: str) -> None:
        self._ask(name, lambda client: client.delete_object(**self._at(name)))

    def names(self, folder: str) -> list[str]:
        start = f"{self.prefix}{folder}/"
        keys = self._ask(folder, lambda client: [key for key, _ in listed(client, self.bucket, start, "/")])
        return sorted(key.removeprefix(start) for key in keys if key != start)  # which some tools make for a folder

    def touch(self, name: str) -> None:
        """As in a folder; without patience, because whoever keeps something alive comes again soon."""

        def again(client: Any) -> None:
            client.put_object(**self._at(name), Body=self._content(client, name))

        self._unless(_ABSENT, name, again, patience_seconds=0)

    def hurried(self) -> "S3Objects":
        return replace(self, patience_seconds=min(HURRY_SECONDS, self.patience_seconds))

    def age_seconds(self, name: str) -> float | None:
        found = self._unless(_ABSENT, name, lambda client: client.head_object(**self._at(name)))
        if found is None:
            return None
        now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
        return float((now - found["LastModified"]).total_seconds())

    def upload(self, path: Path, name: str) -> None:
        """``name`` is the content of the file at ``path``; a large one goes up in parts."""
        if path.stat().st_size <= PART_BYTES:
            self.write(name, path.read_bytes())
        else:
            self._ask(name, lambda client: client.upload_file(str(path), self.bucket, self.prefix + name))

    def download(self, name: str, path: Path) -> bool:
        """Write ``name`` to the file at ``path``, in parts if it is large; False if it is not there."""

        def get(client: Any) -> bool:
            found = client.get_object(**self._at(name))
            if found["ContentLength"] <= PART_BYTES:
                path.write_bytes(found["Body"].read())
            else:
                found["Body"].close()
                client.download_file(self.bucket, self.prefix + name, str(path))
            return True

        return bool(self._unless(_ABSENT, name, get))

    def listed(self) -> dict[str, dict[str, Any]]:
        """Every object's name, at any depth, with what the server's list says of it."""
        start, found = self.prefix, self._ask("", lambda client: list(listed(client, self.bucket, self.prefix)))
        return {key.removeprefix(start): about for key, about in found}

    def is_encrypted(self, name: str) -> bool:
        """Is ``name`` kept with a key that makes its ETag something else than the MD5 of its content?"""
        head = self._ask(name, lambda client: client.head_object(**self._at(name)))
        return str(head.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in head

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + name}

    def _content(self, client: Any, name: str) -> bytes:
        content: bytes = client.get_object(**self._at(name))["Body"].read()
        return content

    def _unless(
        self,
        codes: tuple[str, ...],
        name: str,
        call: Callable[[Any], Result],
        patience_seconds: float | None = None,
    ) -> Result | None:
        """What ``call`` returns; None if the server answers with one of ``codes``."""
        from botocore.exceptions import ClientError  # type: ignore[import-untyped]

        def guarded(client: Any) -> Result | None:
            try:
                return call(client)
            except ClientError as error:
                if error.response["Error"]["Code"] in codes:
                    return None
                raise

        return self._ask(name, guarded, patience_seconds)

    def _ask(self, name: str, call: Callable[[Any], Result], patience_seconds: float | None = None) -> Result:
        """What ``call`` returns, tried again while the server is away."""
        where, begin = f"s3://{self.bucket}/{self.prefix}{name}", time.monotonic()
        patience = self.patience_seconds if patience_seconds is None else patience_seconds
        for pause in _pauses():
            try:
                result = call(self._client())
                self._answered[:] = [True]
                return result
            except failures() as error:
                waited = time.monotonic() - begin + pause
                if not may_pass(error) and not (lacks_bucket(error) and (self._answered or waited < BUCKET_SECONDS)):
                    raise RuntimeError(f"{where}: {said(error)}: {_REMEDY}") from error
                if waited > patience:
                    raise StoreUnavailableError(f"{where}: {said(error)}: {_REMEDY}") from error
                level = logging.WARNING if pause == _FIRST_PAUSE_SECONDS else logging.DEBUG
                _log.log(level, "%s: %s: waiting for it", where, said(error))
                time.sleep(pause)
        raise AssertionError("pauses end")

    def _client(self) -> Any:
        """This process's client: one that a fork inherits would share its connections."""
        pid = os.getpid()
        if pid not in self._clients:
            self._clients[pid] = make_client()
        return self._clients[pid]


def listed(client: Any, bucket: str, start: str, delimiter: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of ``bucket`` that begins with ``start``, to the next ``delimiter``, and what the list says of it."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start, Delimiter=delimiter)
    for page in pages:
        for found in page.get("Contents", ()):
            yield found["Key"], found


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
