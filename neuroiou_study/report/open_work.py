"""What a study has still to do, stage by stage, in the order in which it does it."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from neuroiou_study.report.bounds import ONCE, Bounds
from neuroiou_study.report.ended_trials import EndedTrials
from neuroiou_study.spec import SURROGATE_ARM, StudySpec, TrialSpec
from neuroiou_study.spec.budget import GATED_ALLOWANCE
from neuroiou_study.stages.draw import draw_surrogates
from neuroiou_study.stages.pipeline import STAGES, plan
from neuroiou_study.stages.records import Assignment, StudyRecords, TrialRecord
from neuroiou_study.stages.screen import find_screening, num_fitted
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import shared_stages
from neuroiou_study.stages.val import finals, open_confirmations

SCREEN = "screen"
"""The work of fitting one of many surrogates together."""


class Crew(Enum):
    """Who does the jobs of a phase."""

    alone = "one worker"
    first = "the workers of one trial, or resources.shared_workers"
    all = "the workers of all trials at once, or resources.shared_workers"
    trials = "the workers of a trial for each job, several at once"


@dataclass(frozen=True)
class Work:
    """A stage of an arm that is still to be run."""

    stage: str
    arm: str
    times: Bounds = ONCE
    """How much of it, or how often: a part of a training that may be stopped, several for those that are gated."""


Job = tuple[Work, ...]
"""What is done one after the other."""


@dataclass(frozen=True)
class Phase:
    """Jobs that nothing else runs beside."""

    name: str
    crew: Crew
    jobs: list[Job]


def open_work(study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> list[Phase]:
    """The phases of ``study`` that have anything to do; what is in ``store`` is not counted.

    Trials that are not drawn yet count every stage that a range touches, so that equal draws would make it less.
    """
    ahead = _Ahead(study, store, records)
    phases = [
        Phase("shared stages", Crew.first, ahead.shared(study.seeds)),
        Phase("screening: pairs", Crew.first, ahead.pairs()),
        Phase("screening: fits", Crew.alone, ahead.screening()),
        Phase("trials", Crew.trials, ahead.trials()),
        Phase("shared stages of fresh seeds", Crew.all, ahead.shared(study.fresh_seeds) if ahead.confirms else []),
        Phase("confirmations", Crew.trials, ahead.confirmations()),
        Phase("val", Crew.all, ahead.finals()),
    ]
    return [phase for phase in phases if phase.jobs]


def works_of(phases: Iterable[Phase]) -> list[Work]:
    """All works of ``phases``, in order."""
    return [work for phase in phases for job in phase.jobs for work in job]


def varied_stages(study: StudySpec, arm: str) -> set[str]:
    """The stages that differ between the trials of an arm: what its ranges touch, and what is made from that."""
    fields, varied = {name.split(".")[0] for name in study.ranges(arm)}, set[str]()
    for stage in STAGES:
        if fields & set(stage.reads) or varied & set(stage.upstream):
            varied.add(stage.name)
    return varied


class _Ahead:
    """Makes the phases, in order: what one of them makes, the next ones find."""

    def __init__(self, study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> None:
        self._study, self._store, self._records = study, store, records
        self._made = set[str]()
        ended = {record.assignment.name for record in records}
        begun = StudyRecords(study, store).handed_out()
        self._running = [each for each in begun if each.name not in ended]
        self._so_far = EndedTrials(study, records)
        self._wanted = {arm: self._num_undrawn(arm) for arm in study.arms}
        self._is_searched = not self._running and not any(self._wanted.values())
        self._open = open_confirmations(study, store) if self._is_searched else self._likely_confirmations()

    @property
    def confirms(self) -> bool:
        """Is anything to be confirmed?"""
        return bool(self._open)

    def shared(self, seeds: Sequence[int]) -> list[Job]:
        """What all trials share, one seed after the other."""
        names = shared_stages(self._study)
        specs = (self._study.sample({}, seed=seed) for seed in seeds)
        return _jobs([work for spec in specs for work in self._missing(spec, SURROGATE_ARM, names)])

    def pairs(self) -> list[Job]:
        """What screened surrogates are fitted to."""
        specs = ((arm, self._study.sample({}, arm=arm, seed=s)) for arm in self._unscreened for s in self._study.seeds)
        return _jobs([work for arm, spec in specs for work in self._missing(spec, arm, ("pretrain", "collect_pairs"))])

    def screening(self) -> list[Job]:
        """The fits of each arm that is to be screened."""
        study = self._study
        wanted = {arm: len(draw_surrogates(study, arm)) * len(study.seeds) for arm in self._unscreened}
        open_fits = {arm: number - num_fitted(study, arm, self._store) for arm, number in wanted.items()}
        return _jobs([Work(SCREEN, arm, ONCE * number) for arm, number in open_fits.items() if number])

    def trials(self) -> list[Job]:
        """The trials that have begun, then those that are not drawn yet, the arms in turns."""
        begun = [self._trial(each, varied=()) for each in self._running]
        return _jobs(*begun, *(self._undrawn(arm) for arm in self._turns()))

    def confirmations(self) -> list[Job]:
        """The winners on fresh seeds: those that have won, or while that is open as many as there will be."""
        return _jobs(*(self._confirmation(each) for each in self._open))

    def finals(self) -> list[Job]:
        """The best of each arm on ``val``, where nothing is confirmed."""
        study = self._study
        if study.confirm is not None:
            return []
        if not self._is_searched:
            return _jobs([Work("evaluate", arm) for arm in study.arms for _ in study.seeds])
        best = finals(study, self._records).items()
        return _jobs([w for arm, specs in best for spec in specs for w in self._missing(spec, arm, ("evaluate",))])

    @property
    def _unscreened(self) -> list[str]:
        arms = self._study.screened_arms
        return [arm for arm in arms if find_screening(self._study, arm, self._store) is None]

    def _num_undrawn(self, arm: str) -> int:
        wanted, running = self._study.num_trials(arm), sum(each.arm == arm for each in self._running)
        trained, gated = self._so_far.num_trained(arm), self._so_far.num_gated(arm)
        return max(0, min(wanted - trained - running, GATED_ALLOWANCE * wanted - trained - gated - running))

    def _turns(self) -> Iterator[str]:
        """The arm of each trial to come: always the one with most of them left, as the search has it."""
        left = dict(self._wanted)
        while any(left.values()):
            arm = max(left, key=lambda each: left[each])
            left[arm] -= 1
            yield arm

    def _likely_confirmations(self) -> list[Assignment]:
        study, top = self._study, self._study.confirm.top if self._study.confirm else 0
        number = {arm: min(top, study.num_trials(arm)) if arm in study.learned_arms else 1 for arm in study.arms}
        return [
            Assignment(arm=arm, number=each, values={}, fresh_seed=seed)
            for arm in study.arms
            for each in range(number[arm])
            for seed in study.fresh_seeds
        ]

    def _undrawn(self, arm: str) -> list[Work]:
        return self._trial(Assignment(arm=arm, number=0, values={}), varied_stages(self._study, arm))

    def _confirmation(self, assignment: Assignment) -> list[Work]:
        varied = () if self._is_searched else varied_stages(self._study, assignment.arm)
        specs = assignment.specs(self._study)
        return [work for spec in specs for work in self._missing(spec, assignment.arm, None, varied)]

    def _trial(self, assignment: Assignment, varied: Collection[str]) -> list[Work]:
        arm, specs = assignment.arm, assignment.specs(self._study)
        screened = {"fit_surrogate"} if arm in self._study.screened_arms else set[str]()  # it has made them
        names = [stage.name for stage in STAGES if stage.name not in screened]
        works = [work for spec in specs for work in self._missing(spec, arm, names, varied)]
        return [Work(work.stage, arm, self._so_far.times(arm, work.stage, work.stage in varied)) for work in works]

    def _missing(
        self, spec: TrialSpec, arm: str, names: Collection[str] | None, varied: Collection[str] = ()
    ) -> list[Work]:
        """The stages of ``spec`` among ``names`` that nobody makes before; ``varied`` ones have other addresses yet."""
        works = []
        for stage, step in plan(spec).items():
            is_wanted = names is None or stage in names
            if is_wanted and (stage in varied or not self._is_there(step.address)):
                self._made.add(step.address)
                works.append(Work(stage, arm))
        return works

    def _is_there(self, address: str) -> bool:
        return address in self._made or self._store.has(address)


def _jobs(*jobs: Sequence[Work]) -> list[Job]:
    return [tuple(job) for job in jobs if job]
