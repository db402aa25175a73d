"""The keys of a study file as Markdown, from the JSON schema that ``neuroiou-study schema`` prints."""

import json
from collections.abc import Iterator
from typing import Any

from neuroiou_study.spec import StudySpec

Node = dict[str, Any]
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "multipleOf": "multiple of"}
NAMES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}


def study_files() -> str:
    """A section for the study and for each spec in it: key, type, default, description."""
    schema = StudySpec.model_json_schema()
    return "\n".join([*_section("A study", "study", schema), *_parts(schema)])


def _parts(schema: Node) -> Iterator[str]:
    for name in _in_order(schema):
        yield from _section(_title(name), name, schema["$defs"][name])


def _in_order(schema: Node) -> list[str]:
    """The names of ``$defs``, in the order in which a reader of the study meets them."""
    found: list[str] = []

    def meet(node: object) -> None:
        if isinstance(node, list):
            for part in node:
                meet(part)
        elif isinstance(node, dict):
            name = node.get("$ref", "").rpartition("/")[2]
            if name and name not in found:
                found.append(name)
                meet(schema["$defs"][name])
            for key, part in node.items():
                if key not in ("$defs", "discriminator"):
                    meet(part)

    meet(schema)
    return found


def _section(title: str, name: str, node: Node) -> Iterator[str]:
    yield from (f"(key-{name.lower()})=", f"## {title}", "", _line(node.get("description", "")), "")
    if node.get("properties"):
        yield from ("| key | type | default | |", "|---|---|---|---|")
        for key, part in node["properties"].items():
            default = _default(part, key in node.get("required", ()))
            yield f"| `{key}` | {_type(part)} | {default} | {_cell(_line(part.get('description', '')))} |"
    yield ""


def _title(name: str) -> str:
    return name.removesuffix("Spec")


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(node: Node, required: bool) -> str:
    if required:
        return "*required*"
    if "const" in node or "default" not in node:
        return ""
    default = node["default"]
    if isinstance(default, dict) and (only := default.get("name")) and len(default) > 1:
        return f"`{{name: {only}}}`"
    if isinstance(default, dict) and len(default) > 1:
        return "its own defaults"
    return f"`{_cell(_yaml(default))}`"


def _yaml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)


def _type(node: Node) -> str:
    """``node`` in words, with a link to each spec that it names."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return f"[{_title(name)}](#key-{name.lower()})"
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if alternatives := node.get("oneOf") or node.get("anyOf"):
        return " or ".join(_type(each) for each in alternatives)
    match node.get("type"):
        case "array":
            return _list(node)
        case "object":
            return _mapping(node)
        case None:
            return "anything"
        case kind:
            return _with_limits(NAMES[kind], node)


def _list(node: Node) -> str:
    if "prefixItems" in node:
        return "[" + ", ".join(_type(each) for each in node["prefixItems"]) + "]"
    return f"list of {_type(node['items'])}" if "items" in node else "list"


def _mapping(node: Node) -> str:
    values = [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]
    named = [_type(value) for value in values if isinstance(value, dict)]
    return f"name → {named[0]}" if named else "mapping"


def _with_limits(name: str, node: Node) -> str:
    limits = [f"{sign} {node[key]:g}" for key, sign in LIMITS.items() if key in node]
    return f"{name} {', '.join(limits)}".strip()
