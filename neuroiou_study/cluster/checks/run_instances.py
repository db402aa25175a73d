"""Amazon's machines: the shape of RunInstances as botocore has it, and what makes one safe."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from neuroiou_study.cluster.checks.head_machine import check_head_machine
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
_ARM = re.compile(r"[a-z]+\d+g[a-z]*\.")
"""Families of Amazon's own processors, such as m7g and g5g."""
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
    in_containers, has_key = "docker" in document, "ssh_private_key" in mapping(document.get("auth"))
    for where, node_type, is_head in node_types(document):
        config, at = mapping(node_type.get("node_config")), f"{where}.node_config"
        asked = {key: value for key, value in config.items() if key != "SubnetIds"}
        yield from against(run_instances(), {"MinCount": 1, "MaxCount": 1, **asked}, at)
        for rule in (_complete, _disks, _market, _tags):
            yield from rule(at, config)
        yield from _metadata(at, config, 2 if in_containers else 1)
        if has_key and not config.get("KeyName") and not config.get("UserData"):
            yield missing(f"{at}.KeyName", "ssh_private_key would not open the machine: name its key pair")
        if is_head:
            yield from check_head_machine(where, node_type)
    yield from _profiles(document)


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


def _metadata(where: str, config: dict[str, Any], hops: int) -> Iterator[Problem]:
    options = mapping(config.get("MetadataOptions"))
    tokens, limit = options.get("HttpTokens", "optional"), options.get("HttpPutResponseHopLimit", 1)
    if tokens != "required":
        rule = "must be required (IMDSv2): else a single request from a program on it gets the machine's keys"
        yield wrong(f"{where}.MetadataOptions.HttpTokens", tokens, rule)
    if isinstance(limit, int) and limit < hops:
        rule = "must be 2: a container is one hop further away, and would not get the machine's role"
        yield wrong(f"{where}.MetadataOptions.HttpPutResponseHopLimit", limit, rule)
    if options.get("HttpEndpoint") == "disabled":
        rule = "must be enabled: the machine gets its role there, and hears there that it is taken"
        yield wrong(f"{where}.MetadataOptions.HttpEndpoint", "disabled", rule)


def _disks(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    disks = items(config.get("BlockDeviceMappings"))
    if not disks:
        yield missing(f"{where}.BlockDeviceMappings", "the disk would not be encrypted: name it, with Encrypted: true")
    for number, disk in enumerate(map(mapping, disks)):
        if not disk.keys() & {"NoDevice", "VirtualName"}:
            yield from _disk(f"{where}.BlockDeviceMappings[{number}].Ebs", mapping(disk.get("Ebs")))


def _disk(where: str, ebs: dict[str, Any]) -> Iterator[Problem]:
    if ebs.get("Encrypted") is not True:
        yield wrong(f"{where}.Encrypted", ebs.get("Encrypted", False), "must be true: add it")
    if ebs.get("DeleteOnTermination") is False:
        yield wrong(f"{where}.DeleteOnTermination", False, "must be true: a disk that stays is paid for ever")


def _market(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    options, at = mapping(config.get("InstanceMarketOptions")), f"{where}.InstanceMarketOptions.SpotOptions"
    spot = mapping(options.get("SpotOptions"))
    if spot.get("SpotInstanceType", "one-time") != "one-time":
        rule = "must be one-time: EC2 would begin the machine anew, after `ray down` too"
        yield wrong(f"{at}.SpotInstanceType", spot["SpotInstanceType"], rule)
    if spot.get("InstanceInterruptionBehavior", "terminate") != "terminate":
        rule = "must be terminate: a machine that is stopped costs its disk"
        yield wrong(f"{at}.InstanceInterruptionBehavior", spot["InstanceInterruptionBehavior"], rule)
    instance = config.get("InstanceType")
    if isinstance(instance, str) and _ARM.match(instance):
        yield note(
            f"{where}.InstanceType", instance, "has ARM processors: machine and container image must be for them"
        )


def _profiles(document: dict[str, Any]) -> Iterator[Problem]:
    """A worker that has the head's role can begin and end machines."""
    types = list(node_types(document))
    profiles = [
        (where, mapping(each.get("node_config")).get("IamInstanceProfile"), head) for where, each, head in types
    ]
    heads = [profile for _, profile, is_head in profiles if is_head]
    for where, profile, is_head in profiles:
        if profile and not is_head and profile in heads:
            rule = "is the head's, which begins and ends machines: workers need the store alone"
            yield note(f"{where}.node_config.IamInstanceProfile", profile, rule)


def _tags(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    kinds = [mapping(each).get("ResourceType") for each in items(config.get("TagSpecifications"))]
    if "instance" not in kinds:
        yield note(f"{where}.TagSpecifications", "missing", "a bill cannot be divided without: tag instance and volume")
