"""The machine of the head, on any cloud: it stays, and it is small."""

from collections.abc import Iterator
from typing import Any

from neuroiou_study.cluster.checks.instances import known_size
from neuroiou_study.cluster.checks.problem import Problem, items, mapping, note, wrong
from neuroiou_study.cluster.checks.sizes import instance_of, is_spot


def check_head_machine(where: str, node_type: dict[str, Any]) -> Iterator[Problem]:
    """The head's node type, at ``where``."""
    config, instance = mapping(node_type.get("node_config")), instance_of(node_type) or ""
    if is_spot(node_type):
        key = "InstanceMarketOptions" if "InstanceMarketOptions" in config else "scheduling"
        yield wrong(f"{where}.node_config.{key}", "spot", "the cluster ends when its head is taken: remove it")
    size = known_size(instance)
    if (size and size.gpus) or items(config.get("guestAccelerators")):
        yield note(f"{where}.node_config", instance, "the head has GPUs and runs no work: a size without costs less")
