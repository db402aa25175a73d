"""Google's machines: the shape of an Instance in its discovery document, and what makes one safe."""

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from neuroiou_study.cluster.checks.json_schema import against
from neuroiou_study.cluster.checks.problem import Problem, items, mapping, missing, note, wrong
from neuroiou_study.cluster.checks.sizes import is_spot, node_types

_REQUIRED = {
    "machineType": "must be a size such as g2-standard-8: add it",
    "disks": "must have one with boot: true: add it",
    "networkInterfaces": "Ray takes the first subnet that there is: name your own network",
    "serviceAccounts": "the machine reaches the store by its account: name one",
}
_MISSING = "cannot be looked at: google-api-python-client is missing: pip install 'neuroiou-study[cluster]'"


def check_gce(document: dict[str, Any]) -> Iterator[Problem]:
    """Every ``node_config`` of a GCP file."""
    try:
        schema = instance_schema()
    except ModuleNotFoundError:
        yield Problem(f"provider.type: gcp: {_MISSING}")
        return
    for where, node_type, _ in node_types(document):
        config, at = mapping(node_type.get("node_config")), f"{where}.node_config"
        yield from against(schema, config, at)
        yield from (missing(f"{at}.{key}", rule) for key, rule in _REQUIRED.items() if not config.get(key))
        for rule in (_disks, _network, _scheduling, _account):
            yield from rule(at, node_type)


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


def _disks(where: str, node_type: dict[str, Any]) -> Iterator[Problem]:
    for number, disk in enumerate(items(mapping(node_type.get("node_config")).get("disks"))):
        at = f"{where}.disks[{number}]"
        image = mapping(mapping(disk).get("initializeParams")).get("sourceImage")
        if mapping(disk).get("boot") is True and not image:
            yield missing(f"{at}.initializeParams.sourceImage", "must be your machine image: name it")
        if isinstance(image, str) and "/family/" in image:
            rule = "must be one image: a family's newest is another tomorrow: name it by its own name"
            yield wrong(f"{at}.initializeParams.sourceImage", image, rule)
        if mapping(disk).get("autoDelete") is not True:
            yield wrong(f"{at}.autoDelete", False, "must be true: a disk that stays is paid for ever")


def _network(where: str, node_type: dict[str, Any]) -> Iterator[Problem]:
    for number, each in enumerate(items(mapping(node_type.get("node_config")).get("networkInterfaces"))):
        network = mapping(each).get("network")
        if isinstance(network, str) and network.endswith("networks/default"):
            rule = "must be a network of your own: Google's default one lets ssh in from the world"
            yield wrong(f"{where}.networkInterfaces[{number}].network", network, rule)


def _scheduling(where: str, node_type: dict[str, Any]) -> Iterator[Problem]:
    scheduling = mapping(mapping(node_type.get("node_config")).get("scheduling"))
    if is_spot(node_type) and scheduling.get("automaticRestart") is not False:
        restart = scheduling.get("automaticRestart", "missing")
        yield wrong(f"{where}.scheduling.automaticRestart", restart, "must be false for a spot machine: correct it")
    if mapping(node_type.get("resources")).get("GPU") and scheduling.get("onHostMaintenance") != "TERMINATE":
        kept = scheduling.get("onHostMaintenance", "missing")
        rule = "must be TERMINATE: a machine with a GPU cannot move to another host"
        yield wrong(f"{where}.scheduling.onHostMaintenance", kept, rule)


def _account(where: str, node_type: dict[str, Any]) -> Iterator[Problem]:
    config = mapping(node_type.get("node_config"))
    for number, account in enumerate(items(config.get("serviceAccounts"))):
        email = mapping(account).get("email")
        if isinstance(email, str) and email.endswith("-compute@developer.gserviceaccount.com"):
            rule = "must be an account of its own: the project's default one may do nearly everything"
            yield wrong(f"{where}.serviceAccounts[{number}].email", email, rule)
    if not config.get("labels"):
        yield note(f"{where}.labels", "missing", "a bill cannot be divided without: label it")
