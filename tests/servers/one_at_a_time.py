"""A filter for Swift's proxy that makes create-if-absent what it is on S3: of many writers one wins.

Swift looks whether the object is there *before* it receives the content, so two writers at the same time may both be
told that they created it. Here, requests with ``If-None-Match: *`` for the same path wait for each other.
"""

from collections.abc import Callable, Iterable
from typing import Any

from eventlet.semaphore import Semaphore  # type: ignore[import-untyped]

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class OneAtATime:
    """``app``, which gets one such request a path at a time. The proxy is one process."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._turns: dict[str, Semaphore] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_IF_NONE_MATCH") != "*":
            return self._app(environ, start_response)
        with self._turns.setdefault(environ["PATH_INFO"], Semaphore()):
            return list(self._app(environ, start_response))


def filter_factory(global_conf: dict[str, str], **conf: str) -> Callable[[Application], OneAtATime]:
    """For ``paste.filter_factory`` in the proxy's configuration."""
    return OneAtATime
