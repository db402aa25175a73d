"""What a study has recorded in the store: one small file a trial, from which everything else can be rebuilt."""

import contextlib
from collections.abc import Iterable, Iterator
from math import isnan, nan
from typing import Literal, TypeVar, get_args

from pydantic import ConfigDict, ValidationError

from neuroiou_study.core.settings_file import sealed, unsealed
from neuroiou_study.spec import Scalar, StudySpec, TrialSpec
from neuroiou_study.spec.base import Spec
from neuroiou_study.spec.extension import require_extension
from neuroiou_study.spec.surrogate import GateSpec
from neuroiou_study.stages.store import Store

Kind = TypeVar("Kind", bound=Spec)
State = Literal["complete", "pruned", "gated", "failed"]
STATES = get_args(State)


class Assignment(Spec):
    """A trial that is to be run: an arm of the study and values for the ranges it is searched over.

    With ``fresh_seed`` it is a confirmation: the trial once more, on that seed alone, judged on ``val``.
    """

    arm: str
    number: int
    values: dict[str, Scalar]
    fresh_seed: int | None = None

    @property
    def name(self) -> str:
        """``<arm>-<number>`` (and ``-seed<n>``): the name in the store, in MLflow and in the leaderboard."""
        return self.trial if self.fresh_seed is None else f"{self.trial}-seed{self.fresh_seed}"

    @property
    def trial(self) -> str:
        """``<arm>-<number>``, also of a confirmation."""
        return f"{self.arm}-{self.number:03d}"

    def seeds(self, study: StudySpec) -> tuple[int, ...]:
        """The seeds it is run on."""
        return study.seeds if self.fresh_seed is None else (self.fresh_seed,)

    def specs(self, study: StudySpec) -> tuple[TrialSpec, ...]:
        """The complete trial for each seed. A confirmation has passed the gate once and is not stopped by chance."""
        specs = tuple(study.sample(self.values, arm=self.arm, seed=seed) for seed in self.seeds(study))
        if self.fresh_seed is None:
            return specs
        evaluate = study.evaluate.model_copy(update={"split": "val"})
        return tuple(spec.model_copy(update={"evaluate": evaluate, "gate": GateSpec(enabled=False)}) for spec in specs)


class SeedRun(Spec):
    """What one seed of a trial left: addresses of its complete stages, and the history of its fine-tuning."""

    model_config = ConfigDict(allow_inf_nan=True)  # a mean IoU is NaN where no class is

    seed: int
    stages: dict[str, str]
    history: list[dict[str, float]]


class TrialRecord(Spec):
    """A trial that has ended. ``score`` is the mean over the seeds of the last epoch's mean IoU on ``select``."""

    model_config = ConfigDict(allow_inf_nan=True)

    assignment: Assignment
    state: State
    score: float | None
    error: str | None
    seconds: float
    runs: list[SeedRun]


class StudyRecords:
    """The records of ``study`` in ``store``."""

    def __init__(self, study: StudySpec, store: Store) -> None:
        self.folder = study_folder(study)
        self._study, self.store = study, store
        self._trials, self._confirmations = f"{self.folder}/trials", f"{self.folder}/confirmations"

    def begin(self) -> None:
        """Write ``study.json``, the study as it is run now. Raises ValueError if it is no extension of what it was."""
        self.require_extension()
        self.store.write_json(f"{self.folder}/study.json", self._study.model_dump(mode="json"))

    def require_extension(self) -> None:
        """Raise ValueError if the study cannot have drawn all trials that are here."""
        document = self.store.read_json(f"{self.folder}/study.json")
        with contextlib.suppress(ValidationError):  # of another version, which had other identities
            former = None if document is None else StudySpec.model_validate(document)
            if former is not None:
                require_extension(former, self._study, f"study {self._study.identity}")

    def write(self, record: TrialRecord) -> None:
        """Record ``record``; a record of the same trial is replaced."""
        self.store.write_json(self._name(record.assignment), sealed(record.model_dump(mode="json")))

    def find(self, assignment: Assignment) -> TrialRecord | None:
        """The record of a trial, or None while it has not ended. Raises RuntimeError if it is damaged."""
        return self._read(self._name(assignment))

    def __iter__(self) -> Iterator[TrialRecord]:
        """Every record of the search, by arm and number."""
        return iter(sorted(self._all(self._trials), key=lambda each: (each.assignment.arm, each.assignment.number)))

    def confirmations(self) -> list[TrialRecord]:
        """Every record of the confirmation, by name."""
        return list(self._all(self._confirmations))

    def hand_out(self, assignment: Assignment) -> None:
        """Note that a trial of the search begins, so that a restart on any machine goes on with the same."""
        self.store.write_json(f"{self.folder}/begun/{assignment.name}.json", sealed(assignment.model_dump(mode="json")))

    def begun(self) -> list[str]:
        """The name of every trial of the search that has begun, ended or not; none is read."""
        return [name.removesuffix(".json") for name in self.store.objects.names(f"{self.folder}/begun")]

    def handed_out(self) -> list[Assignment]:
        """Every trial of the search that has begun, ended or not."""
        found = (self._document(Assignment, f"{self.folder}/begun/{name}.json") for name in self.begun())
        return [each for each in found if each is not None]

    def _all(self, folder: str) -> Iterator[TrialRecord]:
        records = (self._read(f"{folder}/{name}") for name in self.store.objects.names(folder))
        return (record for record in records if record is not None)

    def _read(self, name: str) -> TrialRecord | None:
        return self._document(TrialRecord, name)

    def _document(self, kind: type[Kind], name: str) -> Kind | None:
        document = self.store.read_json(name)
        try:
            whole = unsealed(document) if isinstance(document, dict) else document
            return None if whole is None else kind.model_validate(whole)
        except ValueError as error:
            rule = f"damaged: remove it and run again, and {kind.__name__} is made anew"
            raise RuntimeError(f"{self.store.address}/{name}: {_what(error)}: {rule}") from error

    def _name(self, assignment: Assignment) -> str:
        folder = self._trials if assignment.fresh_seed is None else self._confirmations
        return f"{folder}/{assignment.name}.json"


def _what(error: ValueError) -> str:
    """Where and what the first mistake of a document is."""
    if not isinstance(error, ValidationError):
        return str(error)
    detail = error.errors()[0]
    return f"{'.'.join(map(str, detail['loc'])) or 'document'}: {detail['msg']}"


def study_folder(study: StudySpec) -> str:
    """Where in the store a study's documents are or will be."""
    return f"studies/{study.identity}"


def driver_lease(study: StudySpec) -> str:
    """The lease that the one driver of ``study`` holds."""
    return f"study-{study.identity}"


def best_of(records: Iterable[TrialRecord], arm: str) -> TrialRecord | None:
    """The complete trial of ``arm`` with the highest score, the earlier one of equals; None if there is none."""
    return next(iter(ranked(records, arm)), None)


def ranked(records: Iterable[TrialRecord], arm: str) -> list[TrialRecord]:
    """The complete trials of ``arm``, the best first and the earlier first of equals."""
    complete = [r for r in records if r.assignment.arm == arm and r.state == "complete" and not isnan(_score(r))]
    return sorted(complete, key=_score, reverse=True)


def best_learned(study: StudySpec, records: Iterable[TrialRecord]) -> TrialRecord | None:
    """The best complete trial of all learned arms; None if there is none."""
    records = list(records)
    best = [record for arm in study.learned_arms if (record := best_of(records, arm)) is not None]
    return max(best, key=_score, default=None)


def _score(record: TrialRecord) -> float:
    return nan if record.score is None else record.score
