"""Google's machines: the shape of an Instance, as its discovery document has it."""

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from neuroiou_study.cluster.checks.google_machine import check_google_machine
from neuroiou_study.cluster.checks.head_machine import check_head_machine
from neuroiou_study.cluster.checks.json_schema import against
from neuroiou_study.cluster.checks.problem import Problem, mapping, missing, wrong
from neuroiou_study.cluster.checks.sizes import node_types

_REQUIRED = {
    "machineType": "must be a size such as g2-standard-8: add it",
    "disks": "must have one with boot: true: add it",
    "networkInterfaces": "Ray takes the first subnet that there is: name your own network",
    "serviceAccounts": "the machine reaches the store by its account: name one",
}
_MISSING = "cannot be looked at: google-api-python-client is missing: pip install 'neuroiou-study[cluster]'"


def check_gce(document: dict[str, Any]) -> Iterator[Problem]:
    """Every ``node_config`` of a GCP file."""
    zone = mapping(document.get("provider")).get("availability_zone")
    if isinstance(zone, str) and "," in zone:
        yield wrong("provider.availability_zone", zone, "must be one zone, Ray's launcher for Google takes no more")
    try:
        schema = instance_schema()
    except ModuleNotFoundError:
        yield Problem(f"provider.type: gcp: {_MISSING}")
        return
    for where, node_type, is_head in node_types(document):
        config, at = mapping(node_type.get("node_config")), f"{where}.node_config"
        yield from against(schema, config, at)
        yield from (missing(f"{at}.{key}", rule) for key, rule in _REQUIRED.items() if not config.get(key))
        yield from check_google_machine(at, node_type)
        if is_head:
            yield from check_head_machine(where, node_type)


@cache
def instance_schema() -> dict[str, Any]:
    """The JSON schema of an Instance. Raises ModuleNotFoundError without google-api-python-client."""
    folder = resources.files("googleapiclient") / "discovery_cache" / "documents"
    schemas = json.loads((folder / "compute.v1.json").read_text(encoding="utf-8"))["schemas"]
    return {"$ref": "#/$defs/Instance", "$defs": {name: _schema(each) for name, each in schemas.items()}}


def _schema(said: dict[str, Any]) -> dict[str, Any]:
    """A schema of the discovery document as a JSON schema: there, an object has no keys but those that are named."""
    if "$ref" in said:
        return {"$ref": f"#/$defs/{said['$ref']}"}
    match said.get("type"):
        case "object":
            parts = {name: _schema(each) for name, each in said.get("properties", {}).items()}
            others = said.get("additionalProperties")
            return {"type": "object", "properties": parts, "additionalProperties": _schema(others) if others else False}
        case "array":
            return {"type": "array", "items": _schema(said["items"])}
        case "string" if said.get("format") in ("int64", "uint64"):
            return {"type": ["string", "integer"]}
        case "any":
            return {}
        case kind:
            return {"type": kind, **({"enum": said["enum"]} if "enum" in said else {})}
