"""Waiting for what another process does."""

import time
from collections.abc import Callable


def wait_until(happened: Callable[[], bool], patience_seconds: float, every_seconds: float = 0.02) -> None:
    """Return as soon as ``happened()``, which is asked that often; fail when patience has run out."""
    end = time.monotonic() + patience_seconds
    while not happened():
        assert time.monotonic() < end, f"nothing happened in {patience_seconds} s"
        time.sleep(every_seconds)
