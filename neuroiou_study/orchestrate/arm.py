"""One arm's Optuna study: opened, brought up to what the store has, asked.

The store is the truth and Optuna a view of it: trials that Optuna does not know (another storage, a wider space, a lost
file) are added from their records, so that no history is lost and no configuration is handed out twice.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from neuroiou_study.orchestrate.sampling import BoundedTPESampler
from neuroiou_study.spec import ChoiceRange, FloatRange, IntRange, Range, StudySpec
from neuroiou_study.spec.budget import (
    GATED_ALLOWANCE,
    MedianPrunerSpec,
    NoPrunerSpec,
    PrunerSpec,
    SuccessiveHalvingPrunerSpec,
)
from neuroiou_study.stages.draw import own_values
from neuroiou_study.stages.records import Assignment, TrialRecord

STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "gated": TrialState.PRUNED,  # what was never trained counts as the worst, so that the sampler keeps away
    "failed": TrialState.FAIL,
}


@dataclass
class Arm:
    """An arm's Optuna study, and how many of its trials have begun and were gated: counting anew grows with them."""

    spec: StudySpec
    name: str
    study: optuna.Study
    begun: int
    gated: int

    @property
    def num_missing(self) -> int:
        """How many trials the arm has still to begin.

        A gated one was never trained, so that another takes its place, within GATED_ALLOWANCE.
        """
        wanted = self.spec.num_trials(self.name)
        return min(wanted - (self.begun - self.gated), GATED_ALLOWANCE * wanted - self.begun)

    def ask(self) -> Trial:
        """The arm's next trial, with its values. Each is drawn from random numbers of its own.

        So what is drawn depends on the trials that have ended, and not on how often the study was interrupted.
        """
        if self.begun == 0 and self.name not in self.spec.screened_arms:
            _enqueue_base(self.spec, self.name, self.study)
        self.study.sampler = _sampler(self.spec, self.name, self.begun)
        trial = self.study.ask()
        self.begun += 1
        self.draw(trial)
        return trial

    def draw(self, trial: Trial) -> None:
        """Give ``trial`` its values; one that was taken over keeps what it has."""
        for name, bounds in self.spec.ranges(self.name).items():
            trial._suggest(name, distribution(bounds))

    def running(self) -> list[FrozenTrial]:
        """The trials that have begun and not ended."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def open_arm(
    spec: StudySpec, name: str, storage: BaseStorage, ended: Sequence[TrialRecord], begun: Sequence[Assignment]
) -> Arm:
    """The arm ``name`` in ``storage``, with the trials that have ``ended`` and ``begun`` in the store."""
    study = optuna.create_study(
        study_name=f"{spec.identity}/{name}/{_digest(spec, name)}",
        storage=storage,
        direction="maximize",
        pruner=_pruner(spec.pruner),
        load_if_exists=True,
    )
    _add_missing(spec, study, ended, begun)
    known = [frozen for frozen in study.get_trials(deepcopy=False) if frozen.state != TrialState.WAITING]
    return Arm(spec, name, study, len(known), sum(is_gated(each.state, each.intermediate_values) for each in known))


def is_gated(state: TrialState, steps: Collection[int]) -> bool:
    """Was a trial stopped before its fine-tuning?"""
    return state == TrialState.PRUNED and not steps


def steps_of(record: TrialRecord) -> dict[int, float]:
    """The value of every step of a trial, epoch after epoch and seed after seed."""
    values = [row["select_miou"] for run in record.runs for row in run.history]
    return dict(enumerate(values, start=1))


def distribution(bounds: Range) -> BaseDistribution:
    """A range as Optuna has it."""
    match bounds:
        case IntRange():
            return IntDistribution(*bounds.int, log=bounds.log)
        case FloatRange():
            return FloatDistribution(*bounds.float, log=bounds.log)
        case ChoiceRange():
            return CategoricalDistribution(bounds.choice)
        case _:
            assert_never(bounds)


def _digest(spec: StudySpec, name: str) -> str:
    """Of the arm's ranges: Optuna takes no other choices into a study that has some."""
    ranges = {field: bounds.model_dump(mode="json") for field, bounds in spec.ranges(name).items()}
    return hashlib.sha256(json.dumps(ranges, sort_keys=True).encode()).hexdigest()[:8]


def _add_missing(
    spec: StudySpec, study: optuna.Study, ended: Sequence[TrialRecord], begun: Sequence[Assignment]
) -> None:
    known = [each for each in study.get_trials(deepcopy=False) if each.state != TrialState.WAITING]
    missing = {each.number: _running(spec, each) for each in begun if each.number >= len(known)}
    missing |= {r.assignment.number: _ended(spec, r) for r in ended if r.assignment.number >= len(known)}
    if not missing:
        return
    for _ in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        # Enqueued by a driver that died before it asked; its number was handed out elsewhere.
        study.tell(study.ask(), state=TrialState.FAIL)
    first = len(study.get_trials(deepcopy=False))
    for number in range(first, max(missing, default=-1) + 1):
        study.add_trial(missing.get(number) or create_trial(state=TrialState.FAIL))


def _running(spec: StudySpec, assignment: Assignment) -> FrozenTrial:
    params, distributions = _values(spec, assignment)
    return create_trial(state=TrialState.RUNNING, params=params, distributions=distributions)


def _ended(spec: StudySpec, record: TrialRecord) -> FrozenTrial:
    params, distributions = _values(spec, record.assignment)
    return create_trial(
        state=STATES[record.state],
        value=record.score if record.state == "complete" else None,
        intermediate_values=steps_of(record),
        params=params,
        distributions=distributions,
    )


def _values(spec: StudySpec, assignment: Assignment) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """A trial's values as Optuna takes them; for what was not searched when it ran, those that it had."""
    ranges = spec.ranges(assignment.arm)
    values = {**own_values(spec, assignment.arm, ranges), **assignment.values}
    fitting = {name: values[name] for name, bounds in ranges.items() if bounds.contains(values[name])}
    return fitting, {name: distribution(ranges[name]) for name in fitting}


def _enqueue_base(spec: StudySpec, name: str, study: optuna.Study) -> None:
    """The study file's own values are every arm's first trial, where the ranges contain them."""
    ranges = spec.ranges(name)
    values = own_values(spec, name, ranges)
    if values and all(ranges[field].contains(value) for field, value in values.items()):
        study.enqueue_trial(dict(values), skip_if_exists=True)


def _sampler(spec: StudySpec, name: str, number: int) -> BoundedTPESampler:
    text = f"{spec.search_seed} {name} {number}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
    return BoundedTPESampler(seed=seed, n_startup_trials=min(10, 2 + spec.budget.max_trials // 4))


def _pruner(spec: PrunerSpec) -> BasePruner:
    match spec:
        case NoPrunerSpec():
            return NopPruner()
        case MedianPrunerSpec():
            return MedianPruner(n_startup_trials=spec.startup_trials, n_warmup_steps=spec.warmup_epochs)
        case SuccessiveHalvingPrunerSpec():
            return SuccessiveHalvingPruner(min_resource=spec.min_epochs, reduction_factor=spec.reduction_factor)
        case _:
            assert_never(spec)
