"""Machines that lend processor cores and GPUs to workers: those that are there, and those that a cluster may add."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from neuroiou_study.spec.budget import ResourcesSpec

GROWTH = "NEUROIOU_GROWTH"
"""Variable of a cluster's nodes: the workers that it grows to, *number*x*cpus*c*gpus*g each, as in ``8x4c1g,2x48c4g``.

Ray does not tell a program what its autoscaler may add. ``neuroiou-study cluster render`` sets it.
"""
_GROUP = re.compile(r"(?P<number>\d+)x(?P<cpus>\d+)c(?P<gpus>\d+)g")


@dataclass(frozen=True)
class Machine:
    """What a machine lends to workers."""

    cpus: float
    gpus: float

    def num_workers(self, resources: ResourcesSpec) -> int:
        """How many workers fit here."""
        return resources.workers_on(self.cpus, self.gpus)


def num_trials(resources: ResourcesSpec, machines: Iterable[Machine]) -> int:
    """How many trials fit on ``machines`` at once; the workers of one may be spread over several."""
    return sum(each.num_workers(resources) for each in machines) // resources.workers


def growth() -> list[Machine]:
    """The workers that this cluster grows to when they are asked for; empty where it says nothing about it.

    Raises ValueError, *where: value: rule: remedy*.
    """
    text = os.environ.get(GROWTH, "")
    return [machine for group in text.split(",") if group for machine in _group(group)]


def _group(text: str) -> list[Machine]:
    group = _GROUP.fullmatch(text)
    if group is None:
        raise ValueError(f"{GROWTH}: {text}: must be like 8x4c1g, 8 machines of 4 CPUs and 1 GPU: correct it")
    return [Machine(int(group["cpus"]), int(group["gpus"]))] * int(group["number"])
