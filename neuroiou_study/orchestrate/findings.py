"""What a check of the preflight finds."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from neuroiou_study.orchestrate.uris import without_secrets

State = Literal["passed", "failed", "warned", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What one check found. The text of a failure or a warning is *where: value: rule: remedy*; none has a secret."""

    name: str
    state: State
    text: str

    @property
    def has_failed(self) -> bool:
        """Would the study fail on it?"""
        return self.state == "failed"


Outcome = tuple[State, str]
Check = Callable[[], Outcome]
"""Says what it found, or raises one of :data:`WRONG` with *where: value: rule: remedy*."""
WRONG = (ValueError, OSError, RuntimeError)


def passed(text: str) -> Outcome:
    """It is as it must be."""
    return "passed", text


def warned(text: str) -> Outcome:
    """The study can run, and may come to grief."""
    return "warned", text


def skipped(reason: str) -> Outcome:
    """The study does not need it, or it cannot be told."""
    return "skipped", reason


def find(name: str, check: Check) -> Finding:
    """What ``check`` finds; what it raises is a failure."""
    try:
        state, text = check()
    except WRONG as error:
        state, text = "failed", str(error)
    return Finding(name, state, without_secrets(text))


def nearest(path: Path) -> Path:
    """``path``, or the nearest folder above it that is there."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def require_writable(folder: Path) -> None:
    """Raise OSError, *where: value: rule: remedy*, if ``folder``, there or to be made, takes no new file."""
    there = nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=there, prefix=".preflight-") as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"{there}: {reason}: must be a folder that takes files: free it or choose another") from error
