"""Waiting for what another process does."""

import time
from collections.abc import Callable


def wait_until(happened: Callable[[], bool], patience_seconds: float) -> None:
    """Return as soon as ``happened()``; fail when patience has run out."""
    end = time.monotonic() + patience_seconds
    while not happened():
        assert time.monotonic() < end, f"nothing happened in {patience_seconds} s"
        time.sleep(0.02)
