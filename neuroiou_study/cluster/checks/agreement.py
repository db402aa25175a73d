"""What head, workers and types of nodes say of each other: a study on the head plans for the workers."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from neuroiou_study.cluster.checks.nodes import HEAD, WORKERS, starts
from neuroiou_study.cluster.checks.problem import Problem, items, mapping, missing, note, wrong
from neuroiou_study.cluster.checks.sizes import is_spot, node_types

_SHARED = ("NEUROIOU_STORE", "MLFLOW_TRACKING_URI", "NEUROIOU_GROWTH")
_GROUP = re.compile(r"(\d+)x(\d+)c(\d+)g")


def check_agreement(document: dict[str, Any]) -> Iterator[Problem]:
    """Head and workers have the same store and tracking server; a study knows of the machines that may come."""
    heads, workers = starts(document, HEAD), starts(document, WORKERS)
    if not heads or not workers:
        return  # that is said already
    (where, head), (_, worker) = heads[0], workers[0]
    for name in _SHARED:
        one, other = (each.environment.get(name, "missing") for each in (head, worker))
        if one != other:
            yield wrong(f"{where}: {name}", one, f"must be the workers', which have {other}: correct either")
    if "NEUROIOU_STORE" not in head.environment:
        yield missing(f"{where}: NEUROIOU_STORE", "must say where results go: export it")
    if mapping(document.get("provider")).get("type") != "local":
        yield from _growth(where, head.environment.get("NEUROIOU_GROWTH", ""), document)
        yield from _watched(document)


def _growth(where: str, said: str, document: dict[str, Any]) -> Iterator[Problem]:
    told = Counter[tuple[int, int]]()
    for number, cpus, gpus in _GROUP.findall(said):
        told[int(cpus), int(gpus)] += int(number)
    there = Counter[tuple[int, int]]()
    for _, node_type, is_head in node_types(document):
        resources, most = mapping(node_type.get("resources")), node_type.get("max_workers")
        size = resources.get("CPU", 0), resources.get("GPU", 0)
        if not is_head and all(isinstance(each, int) for each in (most, *size)):
            there[size] += most or 0
    if told != there:
        right = ",".join(f"{number}x{cpus}c{gpus}g" for (cpus, gpus), number in there.items() if number)
        rule = f"must be what the types of nodes may come to, {right}: a study plans by it: change it"
        yield wrong(f"{where}: NEUROIOU_GROWTH", said or "missing", rule)


def _watched(document: dict[str, Any]) -> Iterator[Problem]:
    commands = [str(each) for each in items(document.get(WORKERS))]
    if any(is_spot(each) for _, each, _ in node_types(document)) and not any(
        "cluster.spot_notice" in each for each in commands
    ):
        yield note(
            WORKERS, "no spot_notice", "a machine that is taken loses what it does: start the watcher beside Ray"
        )
