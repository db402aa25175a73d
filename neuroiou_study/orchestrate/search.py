"""What to try next and what to stop early: Optuna, one study for each arm, in a journal file of the store.

Optuna is asked and told; it never runs anything. Whatever a dead driver left RUNNING is handed out again first, so the
same command continues a study. Intermediate values reach Optuna while a trial runs, and its pruner's verdict goes
back as the answer: pruning is a trial that returns early, nobody is killed.
"""

import json
import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import assert_never

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from neuroiou_study.orchestrate.postponed import PostponedTrials
from neuroiou_study.orchestrate.sampling import BoundedTPESampler
from neuroiou_study.orchestrate.screened import enqueue_screened
from neuroiou_study.spec import ChoiceRange, FloatRange, IntRange, Range, Scalar, StudySpec
from neuroiou_study.spec.budget import MedianPrunerSpec, NoPrunerSpec, PrunerSpec, SuccessiveHalvingPrunerSpec
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.news import Begun, Ended, Epoch, News, Postponed
from neuroiou_study.stages.records import Assignment, StudyRecords, TrialRecord
from neuroiou_study.stages.store import Store, write_json
from neuroiou_study.stages.trial import make_record

GATED_ALLOWANCE = 3
"""*Assumed*."""
ELAPSED_FILE = "elapsed.json"
_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "gated": TrialState.PRUNED,  # what was never trained counts as the worst, so that the sampler keeps away
    "failed": TrialState.FAIL,
}


@dataclass
class _Live:
    """A trial that is running, and the steps that Optuna has heard of it."""

    trial: Trial
    steps: set[int]

    def report(self, step: int, value: float) -> None:
        if step not in self.steps:
            self.steps.add(step)
            self.trial.report(value, step)


@dataclass
class _Arm:
    """An arm's Optuna study, and how many of its trials have begun and were gated: counting anew grows with them."""

    study: optuna.Study
    begun: int
    gated: int

    def num_missing(self, wanted: int) -> int:
        """How many of ``wanted`` trials the arm has still to begin.

        A gated one was never trained, so that another takes its place; but no arm begins more than so many times
        ``wanted``: a space in which every surrogate fails has to end.
        """
        return min(wanted - (self.begun - self.gated), GATED_ALLOWANCE * wanted - self.begun)


class Search:
    """The search of one study. One process at a time may have it open (the study's lease sees to that)."""

    def __init__(self, study: StudySpec, store: Store) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study, self._store, self._records = study, store, StudyRecords(study, store)
        self._records.begin()
        storage = JournalStorage(JournalFileBackend(str(self._records.folder / "optuna.log")))
        self._arms = {arm: _open_arm(study, arm, storage) for arm in study.arms}
        self._live: dict[str, _Live] = {}
        self._postponed = PostponedTrials(study, store)
        self._news: list[News] = []
        self._begin, self._before = time.monotonic(), self._read_elapsed()
        self._orphans = deque(self._take_over())

    def next(self) -> Assignment | None:
        """The next trial to run, or None while there is none, and when ``is_over``."""
        assignment = self._postponed.take() or (self._orphans.popleft() if self._orphans else self._ask())
        if assignment is not None:
            self._news.append(Begun(assignment))
        return assignment

    def is_over(self) -> bool:
        """Is the budget spent and has every trial ended? Ask when ``next`` had none."""
        return not self._live

    def postpone(self, assignment: Assignment) -> None:
        """A trial would have to wait for another one; it is handed out again when it need not."""
        self._postponed.put(assignment)
        self._news.append(Postponed(assignment))

    def report(self, assignment: Assignment | None, progress: Progress) -> bool:
        """Hear of an epoch; returns whether the trial should stop."""
        self._news.append(Epoch(assignment, progress))
        if assignment is None or progress.stage != "finetune":
            return False
        step = self._study.seeds.index(progress.seed) * progress.epochs + progress.epoch
        live = self._live[assignment.name]
        live.report(step, progress.metrics["select_miou"])
        is_last = step == len(self._study.seeds) * progress.epochs
        return not is_last and bool(live.trial.should_prune())

    def settle(self, assignment: Assignment, error: str | None = None) -> None:
        """A trial has ended: tell Optuna what its record says, or that it failed if it left none."""
        record = self._records.find(assignment)
        if record is None:
            record = make_record(self._study, assignment, self._store, "failed", error or "ended without a record", 0.0)
            self._records.write(record)
        live = self._live.pop(assignment.name)
        _tell(live, record)
        self._arms[assignment.arm].gated += _is_gated(_STATES[record.state], live.steps)
        write_json(self._records.folder / ELAPSED_FILE, self.elapsed_seconds)
        self._news.append(Ended(record))

    def news(self) -> list[News]:
        """What has happened since the last call."""
        news, self._news = self._news, []
        return news

    @property
    def elapsed_seconds(self) -> float:
        """How long the study has run, restarts included and downtime not."""
        return self._before + time.monotonic() - self._begin

    def _read_elapsed(self) -> float:
        path = self._records.folder / ELAPSED_FILE
        return float(json.loads(path.read_text())) if path.is_file() else 0.0

    def _take_over(self) -> Iterator[Assignment]:
        """Trials that a dead driver left running; those whose record is there only have to be told."""
        for name, arm in self._arms.items():
            for frozen in arm.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                trial = Trial(arm.study, frozen._trial_id)
                assignment = self._assign(name, trial, set(frozen.intermediate_values))
                if self._records.find(assignment) is None:
                    yield assignment
                else:
                    self.settle(assignment)

    def _ask(self) -> Assignment | None:
        """A trial of the arm that has had the fewest, so that all arms advance together."""
        hours = self._study.budget.max_hours
        if (hours is not None and self.elapsed_seconds > hours * 3600) or self._many_wait:
            return None
        missing = {name: arm.num_missing(self._study.num_trials(name)) for name, arm in self._arms.items()}
        name = max(missing, key=lambda name: missing[name])
        if missing[name] <= 0:
            return None
        enqueue_screened(self._study, self._store, name, self._arms[name].study)
        self._arms[name].begun += 1
        return self._assign(name, self._arms[name].study.ask(), set())

    @property
    def _many_wait(self) -> bool:
        """Do so many trials wait that a further one had better be chosen when they have ended?

        The first trials of all arms may need one result, and each trial that runs may keep another waiting.
        """
        num_running = len(self._live) - len(self._postponed)
        return len(self._postponed) >= num_running + len(self._arms)

    def _assign(self, arm: str, trial: Trial, steps: set[int]) -> Assignment:
        # A trial that was taken over keeps the values it has; drawing them again gives the same.
        for name, bounds in self._study.ranges(arm).items():
            _draw(trial, name, bounds)
        assignment = Assignment(arm=arm, number=trial.number, values=dict(trial.params))
        self._live[assignment.name] = _Live(trial, steps)
        return assignment


def _tell(live: _Live, record: TrialRecord) -> None:
    """Tell Optuna a trial's end, with the epochs it missed because their result was in the store already."""
    values = [row["select_miou"] for run in record.runs for row in run.history]
    for step, value in enumerate(values, start=1):
        live.report(step, value)
    score = record.score if record.state == "complete" else None
    live.trial.study.tell(live.trial, score, state=_STATES[record.state], skip_if_finished=True)


def _is_gated(state: TrialState, steps: Collection[int]) -> bool:
    """Was a trial stopped before its fine-tuning?"""
    return state == TrialState.PRUNED and not steps


def _open_arm(study: StudySpec, arm: str, storage: JournalStorage) -> _Arm:
    optuna_study = optuna.create_study(
        study_name=arm, storage=storage, direction="maximize", pruner=_pruner(study.pruner), load_if_exists=True
    )
    # A sampler is not stored: a restarted one must not draw the first values again.
    seed = study.search_seed * 1009 + study.arms.index(arm) * 101 + len(optuna_study.get_trials(deepcopy=False))
    optuna_study.sampler = BoundedTPESampler(seed=seed, n_startup_trials=min(10, 2 + study.budget.max_trials // 4))
    if arm not in study.screened_arms:
        _enqueue_base(study, arm, optuna_study)
    begun = [frozen for frozen in optuna_study.get_trials(deepcopy=False) if frozen.state != TrialState.WAITING]
    gated = sum(_is_gated(frozen.state, frozen.intermediate_values) for frozen in begun)
    return _Arm(optuna_study, len(begun), gated)


def _enqueue_base(study: StudySpec, arm: str, optuna_study: optuna.Study) -> None:
    """The study file's own values are every arm's first trial, where the ranges contain them."""
    base = study.sample({}, arm=arm).model_dump()
    values = {name: _value_at(base, name) for name in study.ranges(arm)}
    if values and all(study.search[name].contains(value) for name, value in values.items()):
        optuna_study.enqueue_trial(values, skip_if_exists=True)


def _value_at(document: dict[str, object], name: str) -> Scalar:
    value: object = document
    for part in name.split("."):
        assert isinstance(value, dict)
        value = value[part]
    assert isinstance(value, bool | int | float | str)
    return value


def _draw(trial: Trial, name: str, bounds: Range) -> None:
    match bounds:
        case IntRange():
            trial.suggest_int(name, *bounds.int, log=bounds.log)
        case FloatRange():
            trial.suggest_float(name, *bounds.float, log=bounds.log)
        case ChoiceRange():
            trial.suggest_categorical(name, bounds.choice)
        case _:
            assert_never(bounds)


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
