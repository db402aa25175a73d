"""A mistake in a file, and how to reach into what a file says without trusting its shape."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from neuroiou_study.cluster.checks.secret import HIDDEN, has_secret
from neuroiou_study.spec.parse import printable


@dataclass(frozen=True)
class Problem:
    """What is wrong at a place of a file."""

    text: str
    """*where: value: rule: remedy*"""
    is_note: bool = False
    """Not wrong, but worth a look."""


def wrong(where: str, value: object, rule: str) -> Problem:
    """``value``, at ``where``, breaks ``rule``: *rule: remedy*."""
    return Problem(f"{where}: {shown(value)}: {rule}")


def missing(where: str, rule: str) -> Problem:
    """There is nothing at ``where``."""
    return Problem(f"{where}: missing: {rule}")


def note(where: str, value: object, rule: str) -> Problem:
    """``value``, at ``where``, is worth a look."""
    return Problem(f"{where}: {shown(value)}: {rule}", is_note=True)


def shown(value: object) -> str:
    """``value`` in a line, unless it tells a secret."""
    text = value if isinstance(value, str) else repr(value)
    return HIDDEN if has_secret(text) else printable(text)


def mapping(value: object) -> dict[str, Any]:
    """``value`` if it is a mapping, else an empty one: that it should be one is said by its schema."""
    return {str(key): each for key, each in value.items()} if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def walk(document: object, where: str = "") -> Iterator[tuple[str, object]]:
    """Every value in ``document``, at any depth, and its place."""
    yield where, document
    for key, value in mapping(document).items():
        yield from walk(value, f"{where}.{key}" if where else key)
    for number, value in enumerate(items(document)):
        yield from walk(value, f"{where}[{number}]")
