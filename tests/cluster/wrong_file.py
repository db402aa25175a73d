"""Files that start a cluster, each with one mistake: made of the shipped ones by one change."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SHIPPED = Path(__file__).parents[2] / "cluster"
Change = Callable[[dict[str, Any]], None]


@cache
def shipped(file: str) -> dict[str, Any]:
    """What a shipped file says."""
    document: dict[str, Any] = yaml.safe_load((SHIPPED / file).read_text())
    return document


@dataclass(frozen=True)
class WrongFile:
    """A shipped file with one change, and where and how the mistake is named."""

    name: str
    file: str
    change: Change
    where: str
    says: str

    def write(self, folder: Path) -> Path:
        """The wrong file, in ``folder``."""
        document = copy.deepcopy(shipped(self.file))
        self.change(document)
        path = folder / self.file
        path.write_text(json.dumps(document, default=str))  # JSON is YAML; a date is text in it
        return path


def put(place: str, value: object) -> Change:
    """Set what is at ``place``: keys and numbers of list items, with dots between."""
    return lambda document: _parent(document, place).__setitem__(_last(place), value)


def drop(place: str) -> Change:
    """Remove what is at ``place``."""
    return lambda document: _parent(document, place).__delitem__(_last(place))


def replace(place: str, old: str, new: str) -> Change:
    """Change a part of the text at ``place``."""

    def change(document: dict[str, Any]) -> None:
        parent, last = _parent(document, place), _last(place)
        assert old in parent[last]
        parent[last] = parent[last].replace(old, new)

    return change


def both(*changes: Change) -> Change:
    """Several changes that make one mistake."""

    def change(document: dict[str, Any]) -> None:
        for each in changes:
            each(document)

    return change


def _keys(place: str) -> list[str | int]:
    return [int(key) if key.isdigit() else key for key in place.replace("[", ".").replace("]", "").split(".")]


def _last(place: str) -> Any:
    return _keys(place)[-1]


def _parent(document: Any, place: str) -> Any:
    for key in _keys(place)[:-1]:
        document = document[key]
    return document


def files(file: str, *rows: tuple[str, Change, str, str]) -> list[WrongFile]:
    """A wrong file of each row: what it is, the change, and where and how the mistake is named."""
    return [
        WrongFile(f"{file.partition('.')[0]}: {name}", file, change, where, says) for name, change, where, says in rows
    ]
