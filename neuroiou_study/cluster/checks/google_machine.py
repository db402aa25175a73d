"""What makes a machine of Google's safe and cheap, and what Google refuses though its fields allow it."""

import re
from collections.abc import Iterator
from typing import Any

from neuroiou_study.cluster.checks.problem import Problem, items, mapping, missing, note, wrong
from neuroiou_study.cluster.checks.sizes import instance_of, is_spot

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


def check_google_machine(where: str, node_type: dict[str, Any]) -> Iterator[Problem]:
    """The ``node_config`` of ``node_type``, at ``where``."""
    config = mapping(node_type.get("node_config"))
    for rule in (_disks, _network, _shielded, _account, _labels):
        yield from rule(where, config)
    yield from _scheduling(where, node_type)
    yield from _gpus(where, node_type)


def _disks(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    disks = [mapping(each) for each in items(config.get("disks"))]
    if disks and not any(each.get("boot") is True for each in disks):
        yield missing(f"{where}.disks[0].boot", "must be true for the disk with the system: add it")
    for number, disk in enumerate(disks):
        at, image = f"{where}.disks[{number}]", mapping(disk.get("initializeParams")).get("sourceImage")
        if disk.get("boot") is True and not image:
            yield missing(f"{at}.initializeParams.sourceImage", "must be your machine image: name it")
        if isinstance(image, str) and "/family/" in image:
            rule = "must be one image: a family's newest is another tomorrow: name it by its own name"
            yield wrong(f"{at}.initializeParams.sourceImage", image, rule)
        if disk.get("autoDelete") is not True:
            yield wrong(f"{at}.autoDelete", False, "must be true: a disk that stays is paid for ever")


def _network(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    for number, each in enumerate(items(config.get("networkInterfaces"))):
        network = mapping(each).get("network")
        if isinstance(network, str) and network.endswith("networks/default"):
            rule = "must be a network of your own: Google's default one lets ssh in from the world"
            yield wrong(f"{where}.networkInterfaces[{number}].network", network, rule)


def _shielded(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    shielded = mapping(config.get("shieldedInstanceConfig"))
    for key in ("enableVtpm", "enableIntegrityMonitoring"):
        if shielded.get(key) is not True:
            said = shielded.get(key, "missing")
            yield wrong(f"{where}.shieldedInstanceConfig.{key}", said, "must be true (Shielded VM): add it")
    for number, each in enumerate(items(mapping(config.get("metadata")).get("items"))):
        item = mapping(each)
        if item.get("key") == "serial-port-enable" and str(item.get("value")).upper() in ("TRUE", "1"):
            rule = "must not be on: that door is in no firewall: remove it"
            yield wrong(f"{where}.metadata.items[{number}]", "serial-port-enable", rule)


def _account(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    for number, each in enumerate(items(config.get("serviceAccounts"))):
        account, at = mapping(each), f"{where}.serviceAccounts[{number}]"
        email = account.get("email")
        if isinstance(email, str) and email.endswith("-compute@developer.gserviceaccount.com"):
            yield wrong(f"{at}.email", email, "must be an account of its own: the project's may do nearly everything")
        if SCOPE not in items(account.get("scopes")):
            rule = f"must have {SCOPE}: what the account may do is a matter of its roles"
            yield wrong(f"{at}.scopes", account.get("scopes", "missing"), rule)


def _labels(where: str, config: dict[str, Any]) -> Iterator[Problem]:
    labels = mapping(config.get("labels"))
    if not labels:
        yield note(f"{where}.labels", "missing", "a bill cannot be divided without: label it")
    for key, value in labels.items():
        if not (_LABEL.fullmatch(key) and _VALUE.fullmatch(str(value))):
            yield wrong(f"{where}.labels.{key}", value, "must be lower-case letters, digits, - and _: change it")


def _scheduling(where: str, node_type: dict[str, Any]) -> Iterator[Problem]:
    scheduling, at = mapping(mapping(node_type.get("node_config")).get("scheduling")), f"{where}.scheduling"
    restart, end = scheduling.get("automaticRestart", "missing"), scheduling.get("instanceTerminationAction", "STOP")
    if is_spot(node_type) and restart is not False:
        yield wrong(f"{at}.automaticRestart", restart, "must be false for a spot machine: correct it")
    if is_spot(node_type) and end != "DELETE":
        rule = "must be DELETE, with provisioningModel: SPOT: a machine that is stopped costs its disk"
        yield wrong(f"{at}.instanceTerminationAction", end, rule)
    kept = scheduling.get("onHostMaintenance", "missing")
    if mapping(node_type.get("resources")).get("GPU") and kept != "TERMINATE":
        rule = "must be TERMINATE: a machine with a GPU cannot move to another host"
        yield wrong(f"{at}.onHostMaintenance", kept, rule)


def _gpus(where: str, node_type: dict[str, Any]) -> Iterator[Problem]:
    """Those that are attached, if any are named, are those that the type lends."""
    attached = [mapping(each) for each in items(mapping(node_type.get("node_config")).get("guestAccelerators"))]
    lent, counts = (
        mapping(node_type.get("resources")).get("GPU", 0),
        [each.get("acceleratorCount") for each in attached],
    )
    numbers = [each for each in counts if isinstance(each, int)]
    if attached and len(numbers) == len(counts) and isinstance(lent, int) and lent and sum(numbers) != lent:
        at = f"{where}.guestAccelerators[0].acceleratorCount"
        yield wrong(at, sum(numbers), f"must be the {lent} of resources.GPU: change either")
    if lent and not attached and (instance_of(node_type) or "").startswith("n1-"):
        yield missing(f"{where}.guestAccelerators", "an n1 machine has the GPUs that are attached to it: name them")
