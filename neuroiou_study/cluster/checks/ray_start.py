"""What a shell would give to the ``ray start`` in a command: its options, and the variables that are exported to it."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

_BETWEEN = ";|&()<>\n"


@dataclass(frozen=True)
class RayStart:
    """One call of ``ray start``; of what is said twice, the last counts."""

    options: dict[str, str]
    environment: dict[str, str]


def ray_starts(command: str) -> list[RayStart]:
    """Every ``ray start`` in ``command``. Raises ValueError if no shell would take it."""
    found, exported, plain = [], dict[str, str](), dict[str, str]()
    for words in _simple_commands(command):
        own = _assignments(words)
        rest = words[len(own) :]
        if rest[:1] == ["export"]:
            exported |= {name: plain[name] for name in rest[1:] if name in plain} | _assignments(rest[1:])
        elif not rest:
            # A variable that is exported already stays so.
            exported |= {name: value for name, value in own.items() if name in exported}
            plain |= own
        elif rest[0].rpartition("/")[2] == "ray" and rest[1:2] == ["start"]:
            found.append(RayStart(_options(rest[2:]), {**exported, **own}))
    return found


def _simple_commands(command: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars=_BETWEEN)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    for is_between, words in groupby(lexer, key=lambda word: set(word) <= {*_BETWEEN}):
        if not is_between:
            yield list(words)


def _assignments(words: list[str]) -> dict[str, str]:
    """The ``NAME=value`` with which ``words`` begin."""
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (equals and name.isidentifier()):
            break
        pairs[name] = value
    return pairs


def _options(words: list[str]) -> dict[str, str]:
    options, last = {}, ""
    for word in words:
        if word.startswith("--"):
            last, _, options[last] = word.partition("=")
        elif last:
            options[last] = word
    return options
