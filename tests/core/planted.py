"""A pickle that does something when it is loaded."""

import pickle
from pathlib import Path
from typing import Any


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def planted(path: Path) -> bytes:
    """A pickle that makes the file ``path`` when it is loaded."""
    return pickle.dumps(_Touch(path))


def planted_object(path: Path) -> object:
    """What a pickle of becomes one that makes the file ``path`` when it is loaded."""
    return _Touch(path)
