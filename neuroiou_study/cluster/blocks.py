"""A YAML document for people: top-level keys in blocks, with a comment above each."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

WIDTH = 118


@dataclass(frozen=True)
class Block:
    """Some top-level keys, and what is said above them."""

    comment: str
    keys: dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Lists are set in below their key, texts of several lines are written as such."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True  # a reader sees what is there


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def document(head: str, blocks: Iterable[Block], schema: str | None = None) -> str:
    """The whole text; ``head`` is its first comment, whose lines stay as they are. Editors read the ``schema``."""
    told = [f"yaml-language-server: $schema={schema}"] if schema else []
    lines = "".join(f"# {line}".rstrip() + "\n" for line in [*told, *head.strip().splitlines()])
    return lines + "".join(_block(block) for block in blocks)


def _block(block: Block) -> str:
    comment = "".join(f"# {line}\n" for line in textwrap.wrap(block.comment, WIDTH))
    return "\n" + comment + yaml.dump(block.keys, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
