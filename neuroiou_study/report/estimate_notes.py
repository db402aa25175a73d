"""What a reader of an estimate has to know before believing it."""

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence

from neuroiou_study.report.ended_trials import EndedTrials
from neuroiou_study.report.estimate import Speedups
from neuroiou_study.report.measured import DIVIDED, Measured, Sample
from neuroiou_study.report.open_work import Phase, Work, works_of
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.prices import MachineSpec, PricesSpec
from neuroiou_study.stages.records import TrialRecord

GOOD_DAYS = 90
"""A price list is believed for so long; *assumed*."""
BUSY_LOAD = 0.5
"""Programs for each processor core that ran before a calibration and probably beside it; *assumed*."""
NOT_COUNTED = (
    "Not counted: the head, disks, traffic, the start of machines, their idle minutes before they are given back, and "
    "work that is lost when a spot machine is taken away without notice (at most an epoch each time)."
)
HOW = (
    "Likely: the mean of the measured seconds, and trials are stopped early as often as so far. At most (≤): the "
    "longest measured of each stage, and none is stopped. N workers are taken to be N times as fast as one."
)


def notes(
    study: StudySpec,
    phases: Sequence[Phase],
    records: Sequence[TrialRecord],
    known: Measured,
    prices: PricesSpec,
    speedups: Speedups,
    today: datetime.date,
) -> list[str]:
    """Sentences, the most important first."""
    works = works_of(phases)
    samples = list(dict.fromkeys(sample for work in works for sample in known.of(work.stage, work.arm)))
    machines = [each for each in prices.machines if study.resources.workers_on(each.cpus, each.gpus)]
    return [
        *_without_gpu(study, samples, speedups),
        *_other_gpu(study, machines, samples, speedups),
        *_measured_on(samples),
        *_busy(samples),
        *_borrowed(works, known),
        *_single(works, known),
        *_speed(machines, speedups),
        *_of_prices(prices, today),
        *_unfit(study, prices),
        *_budget(study),
        *_stopped(study, works, records),
        HOW,
        NOT_COUNTED,
    ]


def _without_gpu(study: StudySpec, samples: Sequence[Sample], speedups: Speedups) -> Iterator[str]:
    on_cpu = dict.fromkeys(each.stage for each in samples if each.stage in DIVIDED and not _has_gpu(each))
    if study.resources.gpus_per_worker and on_cpu:
        guess = "" if speedups else ", or guess with --speedup FACTOR"
        yield (
            f"{', '.join(on_cpu)}: measured without a GPU, and a worker of the study has one: this says nothing about "
            f"GPUs. Measure where the study is to run{guess}."
        )


def _has_gpu(sample: Sample) -> bool:
    return sample.gpus > 0 or sample.device not in ("", "cpu")


def _other_gpu(
    study: StudySpec, machines: Sequence[MachineSpec], samples: Sequence[Sample], speedups: Speedups
) -> Iterator[str]:
    devices = list(dict.fromkeys(each.device for each in samples if each.stage in DIVIDED and _has_gpu(each)))
    for machine in machines if study.resources.gpus_per_worker else ():
        others = [device for device in devices if device and not machine.gpu_is(device)]
        if others and machine.name not in speedups:
            yield (
                f"{machine.name} has {machine.gpu}, and {', '.join(others)} was measured: taken to be as fast. Give "
                f"--speedup {machine.name}=FACTOR."
            )


def _measured_on(samples: Sequence[Sample]) -> Iterator[str]:
    kinds = Counter((each.is_calibration, each.workers, each.gpus, each.device or "?", each.host) for each in samples)
    for (is_calibration, workers, gpus, device, host), number in kinds.items():
        what = "in a calibration" if is_calibration else "of this study"
        each = f"{workers} worker{'s' if workers > 1 else ''} with {gpus:g} GPU{'' if gpus == 1 else 's'}"
        yield f"Measured {what}: {number} result{'s' if number > 1 else ''} by {each}, on {device} of {host}."


def _busy(samples: Sequence[Sample]) -> Iterator[str]:
    for host, load in dict.fromkeys((each.host, each.load) for each in samples if each.load > BUSY_LOAD):
        busy = f"{host} was busy before the calibration (load {load:.1f} a core)"
        yield f"{busy}: its seconds may be too many: repeat it."


def _borrowed(works: Sequence[Work], known: Measured) -> Iterator[str]:
    """The fine-tuning of a loss takes as long as that loss does, and a surrogate's fit as its inputs."""
    own = [work for work in works if work.stage in ("finetune", "fit_surrogate")]
    for stage, arm in dict.fromkeys((work.stage, work.arm) for work in own if not known.has_own(work.stage, work.arm)):
        yield f"{arm}: its {stage} was not measured: taken as that of other arms."


def _single(works: Sequence[Work], known: Measured) -> Iterator[str]:
    stages = dict.fromkeys(work.stage for work in works if len(known.of(work.stage, work.arm)) == 1)
    if stages:
        yield f"{', '.join(stages)}: measured once in an arm, which has no spread: at most (≤) is too low there."


def _speed(machines: Sequence[MachineSpec], speedups: Speedups) -> Iterator[str]:
    for machine in machines:
        if machine.name in speedups:
            yield f"{machine.name}: taken to be {speedups[machine.name]:g} times as fast as measured (--speedup)."
    if not speedups:
        yield "All machines are taken to be as fast as the measured one; --speedup [MACHINE=]FACTOR says otherwise."


def _of_prices(prices: PricesSpec, today: datetime.date) -> Iterator[str]:
    if prices.note:
        yield f"Prices: {prices.note}."
    days = (today - prices.date).days
    if days > GOOD_DAYS:
        yield f"Prices are of {prices.date}, {days} days ago: look them up again, and set date."


def _unfit(study: StudySpec, prices: PricesSpec) -> Iterator[str]:
    names = [each.name for each in prices.machines if not study.resources.workers_on(each.cpus, each.gpus)]
    if names:
        yield f"No worker of the study fits on {', '.join(names)}."


def _budget(study: StudySpec) -> Iterator[str]:
    for name in ("max_hours", "max_gpu_hours"):
        hours = getattr(study.budget, name)
        if hours is not None:
            yield f"budget.{name} is {hours:g}: the study may end before all of this is done."


def _stopped(study: StudySpec, works: Sequence[Work], records: Sequence[TrialRecord]) -> Iterator[str]:
    ended = EndedTrials(study, records)
    arms = dict.fromkeys(work.arm for work in works if work.stage == "finetune" and work.times.likely < 1)
    shares = [f"{arm} {ended.epochs_fraction(arm):.0%}" for arm in arms]
    if shares:
        yield f"Of their fine-tuning epochs, trials so far ran: {', '.join(shares)}; those to come likely do the same."
