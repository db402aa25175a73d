"""YAML as plain data, from anybody: no object but dicts, lists and scalars, and no more of it than was written."""

from collections import Counter
from collections.abc import Hashable
from re import compile as pattern
from typing import Any

import yaml
from yaml.constructor import ConstructorError

MAX_BYTES = 1 << 20
"""Of a file; *assumed*: the longest of ours has 3 kB."""
MAX_NODES = 20_000
"""Of a document, in which a node counts as often as aliases repeat it; *assumed*."""
MAX_DEPTH = 40
"""Of mappings and lists in each other; *assumed*."""
MAX_LETTERS = 2048
"""Of one key or value: a path has at most 4096, and Python prints integers of at most 4300 digits; *assumed*."""
MAX_INTEGER = (1 << 53) - 1
"""The largest that is also a float, as JSON and seeds have it."""


class ParseError(ValueError):
    """A text is not the YAML that we read; the message says what and where."""


_WRONG = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What PyYAML raises: beside its own error, whatever Python says of ``!!int ''``, ``!!bool no-bool``, a date or
number out of range, or a nesting that is too deep."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads ``1e-4`` as a number, as YAML 1.2 does and YAML 1.1 does not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = Counter(part.value for part in _parts(node)[::2] if isinstance(part, yaml.ScalarNode))
        repeated = sorted(key for key, count in keys.items() if count > 1)
        if repeated:
            raise ConstructorError(None, None, f"key {printable(repeated[0])} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        number = self.construct_yaml_int(node)
        if abs(number) > MAX_INTEGER:
            raise ConstructorError(None, None, f"an integer must be at most {MAX_INTEGER}", node.start_mark)
        return number


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    pattern(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)


def parse(text: str) -> Any:
    """The one document in ``text``, None if there is none. Raises ParseError if it is not YAML, or a bomb."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        return loader.construct_document(node)
    except RecursionError:
        raise ParseError(f"mappings and lists in each other: at most {MAX_DEPTH}") from None
    except _WRONG as error:
        raise ParseError(" ".join(str(error).split()) or type(error).__name__) from error


def printable(text: object) -> str:
    """``text``, short and without what would steer a terminal."""
    shown = str(text)
    shown = shown if shown.isprintable() else repr(shown)[1:-1]
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _measure(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """How many nodes ``node`` is with its aliases written out, and how deep; each node is looked at once."""
    if id(node) not in known:
        known[id(node)] = None  # while it is open: who meets it then is a part of itself
        parts = [_measure(part, known) for part in _parts(node)]
        known[id(node)] = 1 + sum(number for number, _ in parts), 1 + max((depth for _, depth in parts), default=0)
    measured = known[id(node)]
    if measured is None:
        raise ConstructorError(None, None, "an alias must not stand for what it is a part of", node.start_mark)
    number, depth = measured
    if number > MAX_NODES or depth > MAX_DEPTH:
        rule = f"at most {MAX_NODES} keys and values and {MAX_DEPTH} in each other, aliases written out"
        raise ConstructorError(None, None, rule, node.start_mark)
    return measured


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if len(node.value) > MAX_LETTERS:
        raise ConstructorError(None, None, f"a value must have at most {MAX_LETTERS} letters", node.start_mark)
    return []
