"""Amazon's machines: the shape of RunInstances as botocore has it, and what makes one safe."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from neuroiou_study.cluster.checks.json_schema import against
from neuroiou_study.cluster.checks.problem import Problem, items, mapping, missing, note, wrong
from neuroiou_study.cluster.checks.sizes import node_types

_OF_RAY = ("SubnetIds", "SecurityGroupIds")
"""Lists that Ray chooses from; the first is no key of RunInstances."""
_REQUIRED = {
    "InstanceType": "must be a size such as g6.xlarge: add it",
    "ImageId": "Ray's default is an old Ubuntu without a driver: name your machine image (docs/cluster.md says how)",
    "IamInstanceProfile": "the machine reaches the store by its role: name one, {Name: …}",
    "SecurityGroupIds": "Ray would make a group that lets ssh in from the world: name your own",
    "SubnetIds": "must say where its machines are: name your subnets",
}
_PLAIN = {
    "string": "string",
    "character": "string",
    "integer": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "boolean": "boolean",
}


def check_ec2(document: dict[str, Any]) -> Iterator[Problem]:
    """Every ``node_config`` of an AWS file."""
    for where, node_type, _ in node_types(document):
        config = mapping(node_type.get("node_config"))
        asked = {key: value for key, value in config.items() if key != "SubnetIds"}
        yield from against(run_instances(), {"MinCount": 1, "MaxCount": 1, **asked}, f"{where}.node_config")
        for rule in (_complete, _metadata, _disks, _tags):
            yield from rule(f"{where}.node_config", config)


@cache
def run_instances() -> dict[str, Any]:
    """The JSON schema of what RunInstances is given."""
    import botocore.session  # type: ignore[import-untyped]

    operation = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances")
    return _schema(operation.input_shape)


def _schema(shape: Any) -> dict[str, Any]:
    """``shape`` of botocore; it does not look at enumerations itself, this does."""
    match shape.type_name:
        case "structure":
            parts = {name: _schema(member) for name, member in shape.members.items()}
            rest = {"required": list(shape.required_members), "additionalProperties": False}
            return {"type": "object", "properties": parts, **rest}
        case "list":
            return {"type": "array", "items": _schema(shape.member)}
        case "map":
            return {"type": "object", "additionalProperties": _schema(shape.value)}
        case kind:
            # A size that is newer than the library is no mistake.
            is_closed = getattr(shape, "enum", None) and shape.name != "InstanceType"
            choices = {"enum": list(shape.enum)} if is_closed else {}
            return {"type": _PLAIN[kind], **choices} if kind in _PLAIN else {}


def _complete(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    inside = items(config.get("NetworkInterfaces"))
    has_own_network = bool(inside) and all({"Groups", "SubnetId"} <= mapping(each).keys() for each in inside)
    for key, rule in _REQUIRED.items():
        if not config.get(key) and not (key in _OF_RAY and has_own_network):
            yield missing(f"{where}.{key}", rule)
    image = config.get("ImageId")
    if isinstance(image, str) and not image.startswith("ami-"):
        yield wrong(f"{where}.ImageId", image, "must be the number of a machine image, ami-…")


def _metadata(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    tokens = mapping(config.get("MetadataOptions")).get("HttpTokens", "optional")
    if tokens != "required":
        rule = "must be required (IMDSv2): else a single request from a program on it gets the machine's keys"
        yield wrong(f"{where}.MetadataOptions.HttpTokens", tokens, rule)


def _disks(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    disks = items(config.get("BlockDeviceMappings"))
    if not disks:
        yield missing(f"{where}.BlockDeviceMappings", "the disk would not be encrypted: name it, with Encrypted: true")
    for number, disk in enumerate(disks):
        ebs = mapping(mapping(disk).get("Ebs"))
        at = f"{where}.BlockDeviceMappings[{number}].Ebs"
        if ebs and ebs.get("Encrypted") is not True:
            yield wrong(f"{at}.Encrypted", ebs.get("Encrypted", False), "must be true: add it")
        if ebs.get("DeleteOnTermination") is False:
            yield wrong(f"{at}.DeleteOnTermination", False, "must be true: a disk that stays is paid for ever")


def _tags(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    kinds = [mapping(each).get("ResourceType") for each in items(config.get("TagSpecifications"))]
    if "instance" not in kinds:
        yield note(f"{where}.TagSpecifications", "missing", "a bill cannot be divided without: tag instance and volume")
