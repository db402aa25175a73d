"""The ``aws`` command as far as our pages use it: ``python -m tests.cluster.aws_command SERVICE OPERATION …``.

An operation or an option that Amazon does not know is an error, as it is there: both are looked up in botocore's model.
"""

import json
import sys
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import jmespath  # type: ignore[import-untyped]
from botocore import xform_name  # type: ignore[import-untyped]

SERVICES = {"s3api": "s3"}
"""The command's name of a service → boto3's, where they differ."""
OUTPUT = ("region", "query", "output")


def main(words: list[str]) -> int:
    """Do what ``words`` say; the answer goes to stdout as ``--output text`` has it."""
    service, operation, *rest = words
    options = {name.removeprefix("--"): value for name, value in zip(rest[::2], rest[1::2], strict=True)}
    client = boto3.client(SERVICES.get(service, service), region_name=options.get("region"))
    [name] = [each for each in client.meta.service_model.operation_names if xform_name(each, "-") == operation]
    given = {key: value for key, value in options.items() if key not in OUTPUT}
    if operation == "authorize-security-group-ingress":
        given = _as_permissions(given)
    shapes = client.meta.service_model.operation_model(name).input_shape.members
    members = {xform_name(key, "-"): key for key in shapes}
    arguments = {members[key]: _value(shapes[members[key]], value) for key, value in given.items()}
    answer = getattr(client, xform_name(name))(**arguments)
    if "query" in options:
        sys.stdout.write(f"{jmespath.search(options['query'], answer)}\n")
    return 0


def _as_permissions(given: dict[str, str]) -> dict[str, str]:
    """The command's short words for a rule, which Amazon itself does not have."""
    short = ("protocol", "port", "cidr", "source-group")
    rule: dict[str, Any] = {"IpProtocol": {"all": "-1"}.get(given["protocol"], given["protocol"])}
    rule |= {"FromPort": int(given["port"]), "ToPort": int(given["port"])} if "port" in given else {}
    rule |= {"IpRanges": [{"CidrIp": given["cidr"]}]} if "cidr" in given else {}
    rule |= {"UserIdGroupPairs": [{"GroupId": given["source-group"]}]} if "source-group" in given else {}
    return {key: text for key, text in given.items() if key not in short} | {"ip-permissions": json.dumps([rule])}


def _value(shape: Any, text: str) -> Any:
    """``text`` as a value of ``shape``: JSON, a file, or the short form ``Name=x,Values=y``."""
    if text.startswith("file://"):
        text = Path(text.removeprefix("file://")).read_text()
    if shape.type_name == "string":
        return text
    if text.startswith(("{", "[")):
        return json.loads(text)
    if shape.type_name == "list":
        return [_value(shape.member, text)]
    if shape.type_name == "structure":
        pairs = (part.partition("=") for part in text.split(","))
        return {key: _value(shape.members[key], value) for key, _, value in pairs}
    return {"true": True, "false": False}[text] if shape.type_name == "boolean" else int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
