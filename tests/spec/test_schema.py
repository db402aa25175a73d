"""The JSON schema that editors complete a study file with."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from neuroiou_study.spec import StudySpec

Node = dict[str, Any]
SCHEMA: Node = StudySpec.model_json_schema()
NEITHER = ("inputs", "monotone", "hinge", "class_one_hot", "context", "flip_gain_weight", "gains")
"""Questions that a study answers: their defaults are the paper's."""
KINDS = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),)}
QUICKSTART = Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml"


def specs() -> Iterator[tuple[str, Node]]:
    yield "StudySpec", SCHEMA
    yield from SCHEMA["$defs"].items()


def resolved(node: Node) -> Node:
    return {**SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], **node} if "$ref" in node else node


def accepts(node: Node, value: object) -> bool:
    """Whether a part of the schema allows the keys, the kinds and the constants of ``value``."""
    node = resolved(node)
    if alternatives := node.get("oneOf") or node.get("anyOf"):
        return any(accepts(alternative, value) for alternative in alternatives)
    if "const" in node or "enum" in node:
        return value in node.get("enum", [node.get("const")])
    match node["type"]:
        case "object":
            return isinstance(value, dict) and _accepts_keys(node, value)
        case "array":
            return isinstance(value, list) and _accepts_items(node, value)
        case kind:
            return type(value) in KINDS[kind]


def _accepts_keys(node: Node, value: Node) -> bool:
    required = set(node.get("required", ())) <= set(value)
    return required and all(accepts(_of_key(node, key), part) for key, part in value.items())


def _of_key(node: Node, key: str) -> Node:
    patterns = (part for pattern, part in node.get("patternProperties", {}).items() if re.search(pattern, key))
    found: Node = node.get("properties", {}).get(key) or next(patterns, None) or node["additionalProperties"]
    return found or {"enum": []}


def _accepts_items(node: Node, value: list[object]) -> bool:
    if "prefixItems" in node:
        return len(value) == len(node["prefixItems"]) and all(map(accepts, node["prefixItems"], value))
    return all(accepts(node["items"], part) for part in value)


@pytest.mark.parametrize(("name", "spec"), list(specs()), ids=lambda item: item if isinstance(item, str) else "")
def test_every_property_is_described(name: str, spec: Node) -> None:
    assert spec.get("description"), f"{name} has no docstring"
    for key, node in spec["properties"].items():
        # A spec's kind is described by the spec.
        assert resolved(node).get("description") or "const" in node, f"{name}.{key} has no docstring"


def test_no_spec_allows_unknown_keys() -> None:
    assert all(spec["additionalProperties"] is False for _, spec in specs())


def test_a_default_s_description_says_where_it_is_from() -> None:
    for name in ("FitSurrogateSpec", "AdamWSpec", "SGDSpec", "UNetSpec"):
        for key, node in SCHEMA["$defs"][name]["properties"].items():
            said = node.get("description", "").lower()
            measured = any(source in said for source in ("cited", "measured", "assumed"))
            assert measured or "const" in node or key in NEITHER, f"{name}.{key}: {said}"


def test_the_schema_accepts_a_shipped_study_and_not_a_misspelt_one() -> None:
    study = yaml.safe_load(QUICKSTART.read_text().replace("e-", ".0e-"))
    assert accepts(SCHEMA, study)
    assert not accepts(SCHEMA, {**study, "pretrain": {"epochs": "14"}})
    assert not accepts(SCHEMA, {**study, "data": {"name": "shapez"}})
    assert not accepts(SCHEMA, {**study, "search": {"finetune.lr": {"float": [1.0]}}})
    assert not accepts(SCHEMA, {key: value for key, value in study.items() if key != "search"})
