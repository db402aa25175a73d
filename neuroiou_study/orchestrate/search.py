"""What to try next and what to stop early: Optuna, one study for each arm, in a journal file or a database.

Optuna is asked and told; it never runs anything. Whatever a dead driver left RUNNING is handed out again first, so the
same command continues a study. Intermediate values reach Optuna while a trial runs, and its pruner's verdict goes
back as the answer: pruning is a trial that returns early, nobody is killed.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from optuna.trial import Trial

from neuroiou_study.orchestrate.arm import STATES, Arm, is_gated, open_arm, steps_of
from neuroiou_study.orchestrate.attendance import Attendance
from neuroiou_study.orchestrate.budget import Spending
from neuroiou_study.orchestrate.optuna_storage import open_storage, patient
from neuroiou_study.orchestrate.postponed import PostponedTrials
from neuroiou_study.orchestrate.screened import enqueue_screened
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.news import Begun, Ended, Epoch, News, Postponed
from neuroiou_study.stages.records import Assignment, StudyRecords, TrialRecord
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import make_record

JOURNAL_FILE = "optuna.log"


@dataclass
class _Live:
    """A trial that is running, and the steps that Optuna has heard of it."""

    trial: Trial
    steps: set[int]

    def report(self, step: int, value: float) -> None:
        if step not in self.steps:
            self.trial.report(value, step)
            self.steps.add(step)


class Search(Attendance):
    """The search of one study. One process at a time may have it open (the study's lease sees to that)."""

    @patient
    def __init__(self, study: StudySpec, store: Store, optuna_url: str | None = None) -> None:
        super().__init__()
        self._study, self._store, self._records = study, store, StudyRecords(study, store)
        self._records.begin()
        self._arms = self._open_arms(optuna_url)
        self._live: dict[str, _Live] = {}
        self._postponed = PostponedTrials(study, store)
        self._news: list[News] = []
        self._spending = Spending(study, store)
        self._orphans = deque(self._take_over())
        self._is_asking = False

    @patient
    def next(self) -> Assignment | None:
        """The next trial to run, or None while there is none, and when ``is_over``."""
        if self._interruption:
            return None
        if self._is_asking:  # the database went away meanwhile: the trial may be there or not
            self._orphans.extend(self._take_over())
            self._is_asking = False
        assignment = self._postponed.take() or (self._orphans.popleft() if self._orphans else self._ask())
        if assignment is not None:
            self._news.append(Begun(assignment))
        return assignment

    def is_over(self) -> bool:
        """Is the budget spent and has every trial ended? Ask when ``next`` had none."""
        return not self._live or self._interruption is not None

    def postpone(self, assignment: Assignment) -> None:
        """A trial would have to wait for another one; it is handed out again when it need not."""
        self._postponed.put(assignment)
        self._news.append(Postponed(assignment))

    @patient
    def report(self, assignment: Assignment | None, progress: Progress) -> bool:
        """Hear of an epoch; returns whether the trial should stop."""
        stop = self._should_stop(assignment, progress)
        self._news.append(Epoch(assignment, progress))
        return stop

    def _should_stop(self, assignment: Assignment | None, progress: Progress) -> bool:
        if assignment is None or progress.stage != "finetune":
            return False
        step = self._study.seeds.index(progress.seed) * progress.epochs + progress.epoch
        live = self._live[assignment.name]
        live.report(step, progress.metrics["select_miou"])
        is_last = step == len(self._study.seeds) * progress.epochs
        return not is_last and bool(live.trial.should_prune())

    @patient
    def settle(self, assignment: Assignment, error: str | None = None) -> None:
        """A trial has ended: tell Optuna what its record says, or that it failed if it left none."""
        record = self._records.find(assignment)
        if record is None:
            record = make_record(self._study, assignment, self._store, "failed", error or "ended without a record", 0.0)
            self._records.write(record)
        live = self._live[assignment.name]
        _tell(live, record)
        del self._live[assignment.name]
        self._arms[assignment.arm].gated += is_gated(STATES[record.state], live.steps)
        self._spending.write()
        self._news.append(Ended(record))

    def news(self) -> list[News]:
        """What has happened since the last call."""
        news, self._news = self._news, []
        return news

    def _open_arms(self, optuna_url: str | None) -> dict[str, Arm]:
        storage = open_storage(optuna_url, self._store.scratch / self._records.folder / JOURNAL_FILE)
        ended, begun = defaultdict[str, list[TrialRecord]](list), defaultdict[str, list[Assignment]](list)
        for record in self._records:
            ended[record.assignment.arm].append(record)
        for assignment in self._records.handed_out():
            begun[assignment.arm].append(assignment)
        return {arm: open_arm(self._study, arm, storage, ended[arm], begun[arm]) for arm in self._study.arms}

    def _take_over(self) -> Iterator[Assignment]:
        """Trials that a dead driver left running; those whose record is there only have to be told."""
        for arm in self._arms.values():
            for frozen in arm.running():
                trial = Trial(arm.study, frozen._trial_id)
                if f"{arm.name}-{trial.number:03d}" in self._live:
                    continue
                arm.draw(trial)
                assignment = self._assign(arm, trial, set(frozen.intermediate_values))
                if self._records.find(assignment) is None:
                    yield assignment
                else:
                    self.settle(assignment)

    def _ask(self) -> Assignment | None:
        """A trial of the arm that has had the fewest, so that all arms advance together."""
        if self._spending.is_over() or self._many_wait:
            return None
        arm = max(self._arms.values(), key=lambda arm: arm.num_missing)
        if arm.num_missing <= 0:
            return None
        self._is_asking = True
        enqueue_screened(self._study, self._store, arm.name, arm.study)
        assignment = self._assign(arm, arm.ask(), set())
        self._records.hand_out(assignment)
        self._is_asking = False
        return assignment

    @property
    def _many_wait(self) -> bool:
        """Do so many trials wait that a further one had better be chosen when they have ended?

        The first trials of all arms may need one result, and each trial that runs may keep another waiting.
        """
        num_running = len(self._live) - len(self._postponed)
        return len(self._postponed) >= num_running + len(self._arms)

    def _assign(self, arm: Arm, trial: Trial, steps: set[int]) -> Assignment:
        assignment = Assignment(arm=arm.name, number=trial.number, values=dict(trial.params))
        self._live[assignment.name] = _Live(trial, steps)
        return assignment


def _tell(live: _Live, record: TrialRecord) -> None:
    """Tell Optuna a trial's end, with the epochs it missed because their result was in the store already."""
    for step, value in steps_of(record).items():
        live.report(step, value)
    score = record.score if record.state == "complete" else None
    live.trial.study.tell(live.trial, score, state=STATES[record.state], skip_if_finished=True)
