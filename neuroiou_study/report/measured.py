"""What the stages of a study have taken so far, or took in its calibration: what an estimate is made from."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

from neuroiou_study.report.bounds import Bounds
from neuroiou_study.report.open_work import SCREEN, Work
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.calibrate import find_calibration
from neuroiou_study.stages.draw import draw_surrogates
from neuroiou_study.stages.ledger import Entry, Ledger
from neuroiou_study.stages.pipeline import plan
from neuroiou_study.stages.records import StudyRecords, TrialRecord
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import needed

DIVIDED = ("pretrain", "collect_pairs", "finetune", "evaluate")
"""The stages that all workers of a group do together, on their devices; one fits a surrogate, on its processor."""


@dataclass(frozen=True)
class Sample:
    """What one result took."""

    stage: str
    arms: frozenset[str]
    """Whose it is; several arms may share it."""
    seconds: float
    """Of all its workers together where they divide it, else of the one that makes it."""
    workers: int
    gpus: float
    """Of each worker."""
    device: str
    """A GPU's name, ``cpu``, or empty where it was not noted."""
    host: str
    is_calibration: bool = False
    load: float = 0.0
    """Of a calibration: programs that ran on the host for each processor core before it."""


class Measured:
    """The samples of a study. Those of its own results count; a calibration stands in for stages that have none."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._by_stage = defaultdict[str, list[Sample]](list)
        for sample in samples:
            self._by_stage[sample.stage].append(sample)
        self._found: dict[tuple[str, str], list[Sample]] = {}
        self._unit: dict[tuple[str, str], Bounds] = {}

    def of(self, stage: str, arm: str) -> list[Sample]:
        """The samples that tell most of ``stage`` in ``arm``: the arm's own, or those of all arms; empty if none."""
        if (stage, arm) not in self._found:
            self._found[stage, arm] = self._look(stage, arm)
        return self._found[stage, arm]

    def seconds(self, work: Work) -> Bounds:
        """What ``work`` takes one worker: the mean of the samples, and the longest of them. KeyError if none."""
        at = work.stage, work.arm
        if at not in self._unit:
            found = [sample.seconds for sample in self.of(*at)]
            if not found:
                raise KeyError(at)
            self._unit[at] = Bounds(fmean(found), max(found))
        unit = self._unit[at]
        return Bounds(unit.likely * work.times.likely, unit.most * work.times.most)

    def has_own(self, stage: str, arm: str) -> bool:
        """Was ``stage`` measured in ``arm`` itself?"""
        return any(arm in sample.arms for sample in self.of(stage, arm))

    def _look(self, stage: str, arm: str) -> list[Sample]:
        all_of = self._by_stage[stage]
        results = [sample for sample in all_of if not sample.is_calibration] or all_of
        found = [sample for sample in results if arm in sample.arms] or results
        # One after the other takes longer than together, which is on the safe side.
        return self._look("fit_surrogate", arm) if stage == SCREEN and not found else found


def measured(study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> Measured:
    """What is known in ``store`` of the seconds of the stages of ``study``."""
    arms = _arms_of(study, store, records)
    return Measured([*_results(study, Ledger(study.identity, store).entries(), arms), *_calibrated(study, store)])


def _results(study: StudySpec, entries: Sequence[Entry], arms: Mapping[str, set[str]]) -> Iterator[Sample]:
    """A sample for each result: what its attempts took, with those that died or left before it was complete."""
    attempts = defaultdict[str, list[Entry]](list)
    for entry in sorted(entries, key=lambda each: (each.begun, each.outcome == "complete")):
        if entry.outcome != "pruned":
            attempts[entry.address].append(entry)
        if entry.outcome == "complete":
            yield _sample(study, attempts.pop(entry.address), arms)


def _sample(study: StudySpec, attempts: Sequence[Entry], arms: Mapping[str, set[str]]) -> Sample:
    last = attempts[-1]
    stage, _, rest = last.address.partition("/")
    parts = _num_fits(study, rest) if stage == SCREEN else 1
    return Sample(
        stage=stage,
        arms=frozenset([rest] if stage == SCREEN else arms.get(last.address, ())),
        seconds=sum(each.seconds * (each.workers if stage in DIVIDED else 1) for each in attempts) / parts,
        workers=last.workers,
        gpus=last.gpu_seconds / (last.seconds * last.workers) if last.seconds else 0.0,
        device=last.device,
        host=last.process.rpartition(" on ")[2],
    )


def _num_fits(study: StudySpec, arm: str) -> int:
    return len(draw_surrogates(study, arm)) * len(study.seeds) if arm in study.screened_arms else 1


def _calibrated(study: StudySpec, store: Store) -> Iterator[Sample]:
    made = find_calibration(study, store)
    if made is None:
        return
    for each in made.stages:
        gpus = 0.0 if made.device == "cpu" else 1.0
        yield Sample(each.stage, frozenset([each.arm]), each.seconds, 1, gpus, made.device, made.host, True, made.load)


def _arms_of(study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> Mapping[str, set[str]]:
    """Whose result is at each address."""
    arms = defaultdict[str, set[str]](set)
    for arm, address in chain(_of_trials(study, StudyRecords(study, store), records), _of_files(study)):
        arms[address].add(arm)
    return arms


def _of_trials(study: StudySpec, kept: StudyRecords, records: Sequence[TrialRecord]) -> Iterator[tuple[str, str]]:
    """The arm and address of each result of the trials that have ended or begun."""
    ended = [*records, *kept.confirmations()]
    for record in ended:
        yield from ((record.assignment.arm, address) for run in record.runs for address in run.stages.values())
    names = {record.assignment.name for record in ended}
    for each in kept.handed_out():
        if each.name not in names:
            yield from ((each.arm, address) for address in needed(study, each))


def _of_files(study: StudySpec) -> Iterator[tuple[str, str]]:
    """The arm and address of what the study file's own values make: what all trials of an arm may share."""
    for arm in study.arms:
        for seed in (*study.seeds, *study.fresh_seeds):
            yield from ((arm, step.address) for step in plan(study.sample({}, arm=arm, seed=seed)).values())
