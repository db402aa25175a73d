"""Is there a machine for every worker of a trial, and memory on its GPU for a step?"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol

from neuroiou_study.orchestrate.findings import Outcome, passed, skipped
from neuroiou_study.orchestrate.machines import Machine, growth, num_trials
from neuroiou_study.orchestrate.where import Where
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.budget import ResourcesSpec

_GIB = 2**30


@dataclass(frozen=True)
class Memory:
    """What the step called ``step`` took of a GPU, and what the GPU has, in bytes."""

    step: str
    taken: int
    has: int


def require_room(resources: ResourcesSpec, machines: list[Machine], of: str) -> Outcome:
    """Raises RuntimeError, *where: value: rule: remedy*, if not all workers of one trial fit on ``machines``.

    A worker must fit on one machine; the workers of a trial may be spread.
    """
    fits = sum(each.num_workers(resources) for each in machines)
    most = max(resources.workers, resources.shared_workers or 1)
    cpus, gpus = (sum(getattr(each, kind) for each in machines) for kind in ("cpus", "gpus"))
    has = f"{cpus:g} CPUs and {gpus:g} GPUs on {len(machines)} machine{'' if len(machines) == 1 else 's'}"
    if fits < most:
        each = f"{resources.cpus_per_worker:g} CPUs, {resources.gpus_per_worker:g} GPUs"
        rule = "a worker must fit on one machine, and all of them at once"
        what = f"{most} workers × {each}: {of} has {has}, room for {fits}"
        raise RuntimeError(f"resources: {what}: {rule}: lower resources or add nodes")
    at_once, wanted = num_trials(resources, machines), resources.trials_at_once
    trials = min(at_once, wanted or at_once)
    asked = f" of {wanted} asked for" if wanted and wanted > trials else ""
    return passed(f"{of}: {has}: {trials}{asked} trials at once")


class Machines(Protocol):
    """Where workers would run."""

    def rooms(self) -> list[Machine]:
        """What each machine lends."""

    def largest_step(self, study: StudySpec) -> Memory | None:
        """What the largest step of ``study`` takes of a GPU; None if no GPU can be had."""


class ThisMachine:
    """This machine, as Ray would find it."""

    def rooms(self) -> list[Machine]:
        import torch

        return [Machine(len(os.sched_getaffinity(0)), torch.cuda.device_count())]

    def largest_step(self, study: StudySpec) -> Memory | None:
        # In a process of its own, which gives the memory back when it ends.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(measure, study).result()


@contextmanager
def at_hand(where: Where) -> Iterator[tuple[str, Machines]]:
    """What a run at ``where`` would use: a cluster, to which this process is connected in the block, or this machine.

    Raises OSError, *where: value: rule: remedy*, if the cluster is not there.
    """
    address = where.address or os.environ.get("RAY_ADDRESS") or "local"
    if where.backend == "local" or address == "local":
        yield "this machine", ThisMachine()
        return
    # Ray takes a second to import.
    from neuroiou_study.orchestrate.check_cluster import reached

    with reached(address) as cluster:
        grown = ", once it has grown" if growth() else ""
        yield f"the cluster at {address}{grown}", cluster


def check_resources(study: StudySpec, where: Where) -> Outcome:
    """Raises OSError or RuntimeError, *where: value: rule: remedy*, if there is no room for the workers of a trial."""
    if where.backend == "local":
        return skipped("--backend local: one worker, in this process")
    with at_hand(where) as (name, machines):
        return require_room(study.resources, machines.rooms(), name)


def check_memory(study: StudySpec, where: Where) -> Outcome:
    """Raises RuntimeError, *where: value: rule: remedy*, if the largest step does not fit a worker's part of a GPU."""
    if not study.resources.gpus_per_worker:
        return skipped("no GPU is asked for")
    with at_hand(where) as (name, machines):
        memory = machines.largest_step(study)
    if memory is None:
        return skipped(f"no GPU can be had of {name}")
    return require_memory(memory, study.resources)


def measure(study: StudySpec) -> Memory | None:
    """The step of ``study`` that takes most of this process's GPU; None without a GPU.

    Raises torch.OutOfMemoryError if one does not fit.
    """
    import torch

    from neuroiou_study.orchestrate.trial_step import largest_steps, peak_bytes
    from neuroiou_study.stages.backend import best_device

    if not torch.cuda.is_available():
        return None
    device = best_device()
    taken = {step.name: peak_bytes(step, study.resources, device) for step in largest_steps(study)}
    name = max(taken, key=lambda each: taken[each])
    return Memory(name, taken[name], torch.cuda.get_device_properties(device).total_memory)


def require_memory(memory: Memory, resources: ResourcesSpec) -> Outcome:
    """Raises RuntimeError, *where: value: rule: remedy*, if ``memory`` is more than a worker's part of the GPU."""
    part = min(1.0, resources.gpus_per_worker)
    sizes = f"{memory.taken / _GIB:.2f} GiB of {part * memory.has / _GIB:.2f} GiB"
    if memory.taken > part * memory.has:
        rule = f"must fit a worker's {part:g} of a GPU"
        remedy = "raise resources.micro_batches or gpus_per_worker, or lower batch_size"
        raise RuntimeError(f"{memory.step}: {sizes}: {rule}: {remedy}")
    return passed(f"{memory.step}: {sizes}")
