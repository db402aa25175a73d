"""Hours, machines and money that a study would still take, on each kind of machine of a price list.

The model is small enough to follow by hand. The phases of a study come one after the other. The jobs of a phase go, in
order, each to the crew that is free first. A stage that workers divide takes N of them an N-th of one worker's seconds.
A phase pays, from its begin to its end, for the machines that its crews need.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuroiou_study.report.bounds import NONE, Bounds
from neuroiou_study.report.measured import DIVIDED, Measured
from neuroiou_study.report.open_work import Crew, Job, Phase, works_of
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.spec.prices import MachineSpec, PricesSpec
from neuroiou_study.stages.trial import most_shared_workers

HOUR = 3600.0
Speedups = Mapping[str, float]
"""Name of a machine → how many times as fast as the measured one its workers are."""


@dataclass(frozen=True)
class Fleet:
    """Machines of one kind, and how many trials they run at once."""

    machine: MachineSpec
    number: int
    at_once: int


@dataclass(frozen=True)
class Offer:
    """What the rest of a study would take on a fleet."""

    fleet: Fleet
    hours: Bounds
    """By the clock."""
    machine_hours: Bounds
    """Of all machines together, each for as long as a phase needs it."""

    @property
    def spot(self) -> Bounds | None:
        """At the spot market's price; None where there is none."""
        price = self.fleet.machine.spot
        return None if price is None else self.machine_hours * price

    @property
    def on_demand(self) -> Bounds:
        """At the full price."""
        return self.machine_hours * self.fleet.machine.on_demand

    @property
    def least(self) -> Bounds:
        """At the lower of both prices."""
        return self.on_demand if self.spot is None else self.spot

    def as_document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        amounts = {"hours": self.hours, "machine_hours": self.machine_hours}
        amounts |= {"on_demand": self.on_demand} | ({} if self.spot is None else {"spot": self.spot})
        machine = self.fleet.machine
        number = {"machines": self.fleet.number, "trials_at_once": self.fleet.at_once}
        return {"machine": machine.name, "provider": machine.provider, **number} | {
            name: {"likely": amount.likely, "most": amount.most} for name, amount in amounts.items()
        }


def estimate(
    study: StudySpec, phases: Sequence[Phase], known: Measured, prices: PricesSpec, speedups: Speedups
) -> list[Offer]:
    """An offer for each fleet of ``prices`` that the workers of ``study`` fit on.

    Raises ValueError, *where: value: rule: remedy*, if a stage that is to be run was never measured or no machine will
    do.
    """
    _require_measured(study, phases, known)
    resources = study.resources
    machines = [each for each in prices.machines if resources.workers_on(each.cpus, each.gpus)]
    if not machines:
        needs = f"{resources.cpus_per_worker:g} CPUs and {resources.gpus_per_worker:g} GPUs"
        rule = "a worker needs so much of one machine: add one that has it or lower resources"
        raise ValueError(f"prices: {needs}: no machine of the list has them: {rule}")
    fleets = [fleet for machine in machines for fleet in _fleets(resources, machine, phases)]
    return [_offer(fleet, study, phases, known, speedups.get(fleet.machine.name, 1.0)) for fleet in fleets]


def _require_measured(study: StudySpec, phases: Sequence[Phase], known: Measured) -> None:
    missing = dict.fromkeys(work.stage for work in works_of(phases) if not known.of(work.stage, work.arm))
    if missing:
        here = "here and briefly with --calibrate"
        there = "or where it is to run with `neuroiou-study run FILE --set budget.max_trials=1 --set confirm=null`"
        remedy = f"measure them {here}, {there}, whose results count"
        rule = "an estimate is made from the measured seconds of every stage that is to be run"
        raise ValueError(f"study {study.identity}: {', '.join(missing)}: not measured yet: {rule}: {remedy}")


def _fleets(resources: ResourcesSpec, machine: MachineSpec, phases: Sequence[Phase]) -> Iterator[Fleet]:
    """As many machines as the study's ``trials_at_once`` need; or the fewest that will do, and as many as can be used.

    Where ``trials_at_once`` is not set, all trials run at once that fit, as on a cluster.
    """
    fits = resources.workers_on(machine.cpus, machine.gpus)

    def number(trials: int) -> int:
        return -(-max(trials * resources.workers, resources.shared_workers or 1) // fits)

    if resources.trials_at_once is not None:
        yield Fleet(machine, number(resources.trials_at_once), resources.trials_at_once)
        return
    most = max((len(phase.jobs) for phase in phases if phase.crew is Crew.trials), default=1)
    for machines in dict.fromkeys((number(1), number(most))):
        yield Fleet(machine, machines, min(most, machines * fits // resources.workers))


def _offer(fleet: Fleet, study: StudySpec, phases: Sequence[Phase], known: Measured, speedup: float) -> Offer:
    seconds, machine_seconds = NONE, NONE
    fits = study.resources.workers_on(fleet.machine.cpus, fleet.machine.gpus)
    for phase in phases:
        workers = _num_workers(phase.crew, study, fleet.at_once)
        crews = min(fleet.at_once, len(phase.jobs)) if phase.crew is Crew.trials else 1
        taken = _makespan([_job_seconds(job, known, workers, speedup) for job in phase.jobs], crews)
        seconds, machine_seconds = seconds + taken, machine_seconds + taken * -(-crews * workers // fits)
    return Offer(fleet, seconds * (1 / HOUR), machine_seconds * (1 / HOUR))


def _num_workers(crew: Crew, study: StudySpec, at_once: int) -> int:
    """Of one crew."""
    resources, most = study.resources, most_shared_workers(study)
    match crew:
        case Crew.alone:
            return 1
        case Crew.first:
            return min(resources.shared_workers or resources.workers, most)
        case Crew.all:
            return min(resources.shared_workers or resources.workers * at_once, most)
        case Crew.trials:
            return resources.workers


def _job_seconds(job: Job, known: Measured, workers: int, speedup: float) -> Bounds:
    total = NONE
    for work in job:
        total += known.seconds(work) * (1 / (workers * speedup) if work.stage in DIVIDED else 1.0)
    return total


def _makespan(jobs: Sequence[Bounds], crews: int) -> Bounds:
    """When the last of ``jobs`` ends, each in its turn given to the crew that is free first."""
    return Bounds(_last_end((job.likely for job in jobs), crews), _last_end((job.most for job in jobs), crews))


def _last_end(jobs: Iterable[float], crews: int) -> float:
    free = [0.0] * crews
    for seconds in jobs:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)
