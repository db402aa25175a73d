"""Who works on what, when it was last heard of, and how often a trial has been begun: the agenda's side of it."""

import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

SHARED = "shared"
"""What workers do for all trials together, as the name of an assignment."""


@dataclass(frozen=True)
class Sign:
    """A sign of life of one process that works on ``name``."""

    name: str
    rank: int
    node: str
    pid: int
    born: str
    """What tells the process from a later one of its number."""


class Attendance:
    """Signs of life and attempts; an agenda on a cluster is one."""

    def __init__(self) -> None:
        self._signs: dict[Sign, float] = {}
        self._attempts: dict[str, list[str]] = defaultdict(list)
        self._interruption: str | None = None

    def interrupt(self, reason: str) -> None:
        """Nothing more is handed out: the store, or the search's database, is away."""
        self._interruption = self._interruption or reason

    def interruption(self) -> str | None:
        """Why nothing more is handed out, if that is so."""
        return self._interruption

    def alive(self, sign: Sign) -> None:
        """A worker has loaded a batch, or begun."""
        self._signs[sign] = time.monotonic()

    def gone(self, sign: Sign) -> None:
        """A worker has ended its task and is not waited for."""
        self._signs.pop(sign, None)

    def silent(self, seconds: float) -> list[Sign]:
        """Workers that gave no sign for so long. Each is named once: whoever asks ends it."""
        limit = time.monotonic() - seconds
        silent = [sign for sign, heard in self._signs.items() if heard < limit]
        for sign in silent:
            del self._signs[sign]
        return silent

    def begin_attempt(self, name: str, node: str, taken_away: Collection[str]) -> int:
        """The trial ``name`` begins on ``node``; how often it has died before, on machines not ``taken_away``."""
        crashes = sum(each not in taken_away for each in self._attempts[name])
        self._attempts[name].append(node)
        return crashes

    def forgive(self, name: str) -> None:
        """The trial's latest attempt has left its machine, or another trial its turn; that is no crash."""
        if self._attempts[name]:
            self._attempts[name].pop()
