"""Types of nodes: what each lends to work, and which is asked for first."""

from collections.abc import Iterator
from typing import Any

from neuroiou_study.cluster.checks.instances import known_size
from neuroiou_study.cluster.checks.problem import Problem, mapping, missing, note, wrong

TYPES = "available_node_types"


def node_types(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Place and content of every type of node, and whether it is the head's."""
    for name, content in mapping(document.get(TYPES)).items():
        if isinstance(content, dict):  # else its schema says so
            yield f"{TYPES}.{name}", mapping(content), name == document.get("head_node_type")


def instance_of(node_type: dict[str, Any]) -> str | None:
    """The provider's name of the size."""
    config = mapping(node_type.get("node_config"))
    size = config.get("InstanceType", config.get("machineType"))
    return size.rpartition("/")[2] if isinstance(size, str) else None


def is_spot(node_type: dict[str, Any]) -> bool:
    """Is it of the spot market?"""
    config = mapping(node_type.get("node_config"))
    amazon = mapping(config.get("InstanceMarketOptions")).get("MarketType")
    google = mapping(config.get("scheduling"))
    return amazon == "spot" or google.get("provisioningModel") == "SPOT" or google.get("preemptible") is True


def check_sizes(document: dict[str, Any]) -> Iterator[Problem]:
    """All types of nodes."""
    for where, node_type, is_head in node_types(document):
        yield from _numbers(where, node_type)
        yield from _head(where, node_type) if is_head else _worker(where, node_type)
    yield from _order(document)
    if document.get("head_node_type") not in mapping(document.get(TYPES)):
        yield wrong("head_node_type", document.get("head_node_type"), f"must be one of {TYPES}: correct it")


def _numbers(where: str, node_type: dict[str, Any]) -> Iterator[Problem]:
    for name, number in mapping(node_type.get("resources")).items():
        # For a JSON schema 4.0 is whole; for Ray's autoscaler it is not.
        if isinstance(number, bool | float):
            yield wrong(f"{where}.resources.{name}", number, "must be a whole number: write it without a point")


def _head(where: str, node_type: dict[str, Any]) -> Iterator[Problem]:
    resources = mapping(node_type.get("resources"))
    for name in ("CPU", "GPU"):
        number = resources.get(name, "as many as it has")
        if number != 0:
            yield wrong(
                f"{where}.resources.{name}", number, "must be 0: the head runs no work, as a study dies with it"
            )
    if node_type.get("max_workers", 0) != 0:
        yield wrong(f"{where}.max_workers", node_type["max_workers"], "must be 0: no worker is of the head's type")


def _worker(where: str, node_type: dict[str, Any]) -> Iterator[Problem]:
    least, most = node_type.get("min_workers", 0), node_type.get("max_workers")
    if most is None:
        yield missing(f"{where}.max_workers", "must say how many there may be, at most: add it")
    elif isinstance(least, int) and isinstance(most, int) and least > most:
        yield wrong(f"{where}.min_workers", least, f"must be at most the {most} of max_workers: change either")
    if least != 0:
        yield note(f"{where}.min_workers", least, "so many are paid for from `ray up` on, with and without work")
    longest = node_type.get("idle_timeout_s")
    if isinstance(longest, int | float) and longest > 3600:
        yield note(f"{where}.idle_timeout_s", longest, "every such worker is paid for so long after its work")
    if not mapping(node_type.get("resources")).get("CPU"):
        yield missing(f"{where}.resources.CPU", "a trial's worker needs processors: say how many it lends")
    instance = instance_of(node_type)
    if instance is not None and known_size(instance) is None:
        yield note(f"{where}.node_config", instance, "not in our table: its CPUs and GPUs are not compared")
    resources = mapping(node_type.get("resources"))
    yield from compared(f"{where}.resources", ("CPU", "GPU"), resources, instance or "")


def compared(where: str, keys: tuple[str, str], said: dict[str, Any], instance: str) -> Iterator[Problem]:
    """Does ``instance`` have what is ``said`` under ``keys``, of processors and of GPUs?"""
    size, (cpus, gpus) = known_size(instance), (said.get(key, 0) for key in keys)
    if size is None:
        return
    if isinstance(cpus, int) and cpus > size.cpus:
        yield wrong(f"{where}.{keys[0]}", cpus, f"must be at most the {size.cpus} of {instance}: change either")
    if isinstance(gpus, int) and gpus != size.gpus:
        yield wrong(f"{where}.{keys[1]}", gpus, f"must be the {size.gpus} of {instance}: change either")


def _order(document: dict[str, Any]) -> Iterator[Problem]:
    """Of one size, spot machines come first."""
    priorities: dict[tuple[str | None, bool], tuple[str, object]] = {}
    for where, node_type, is_head in node_types(document):
        if not is_head:
            priorities[instance_of(node_type), is_spot(node_type)] = where, node_type.get("priority", 0)
    for (instance, spot), (where, priority) in priorities.items():
        _, full_price = priorities.get((instance, False), ("", None))
        if spot and isinstance(priority, int) and isinstance(full_price, int) and priority <= full_price:
            rule = f"must be more than the {full_price} of {instance} at the full price: spot is asked for first"
            yield wrong(f"{where}.priority", priority, rule)
