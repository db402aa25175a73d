"""A study whose ledger is made up, so that an estimate can be worked out by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuroiou_study.report.estimate import Offer, estimate
from neuroiou_study.report.measured import measured
from neuroiou_study.report.open_work import Phase, open_work
from neuroiou_study.spec import Scalar, StudySpec, TrialSpec
from neuroiou_study.spec.prices import PricesSpec
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.ledger import Entry, Outcome
from neuroiou_study.stages.pipeline import plan
from neuroiou_study.stages.records import Assignment, SeedRun, State, StudyRecords, TrialRecord
from tests.studies import TINY

LR_ONLY = {"finetune.lr": {"float": [1e-4, 1e-2], "log": True}}
"""A search in which pretrain, collect_pairs and fit_surrogate are shared by all trials."""
TWO_BY_TWO: dict[str, Any] = {
    "search": LR_ONLY,
    "controls": {"ce": {"name": "cross_entropy"}},
    "budget": {"max_trials": 2},
    "resources": {"workers": 2, "trials_at_once": 2},
}
"""Two trials of two arms, two at once, two workers each."""
MACHINE: dict[str, Any] = {"name": "big", "provider": "own", "cpus": 4, "gpus": 0, "spot": 1.8, "on_demand": 3.6}
"""On demand, a second costs a thousandth; on the spot market half of that."""


def make_study(**changes: Any) -> StudySpec:
    """The two by two study with ``changes`` to its top-level keys."""
    return StudySpec.model_validate({**TINY, **TWO_BY_TWO, **changes})


def price_list(*machines: dict[str, Any], **changes: Any) -> PricesSpec:
    """A list with ``machines``, each said by what differs from the big one."""
    listed = [{**MACHINE, **each} for each in machines or ({},)]
    document = {"date": "2026-01-31", "currency": "EUR", "machines": listed, **changes}
    return PricesSpec.model_validate(document, strict=False)


@dataclass
class MadeUp:
    """A study and its store, in which things are said to have happened."""

    study: StudySpec
    store: FolderStore
    _number: int = field(default=0)

    def took(
        self,
        stage: str,
        seconds: float,
        *,
        arm: str = "neuroiou",
        seed: int = 0,
        values: dict[str, Scalar] | None = None,
        workers: int = 2,
        outcome: Outcome = "complete",
        **changes: Any,
    ) -> str:
        """An attempt at a stage of a trial, which took so long; returns the address. Its result is not there."""
        address = changes.pop("address", None) or self.address(stage, arm, seed, values)
        self._number += 1
        attempt = f"{self._number:012d}"
        entry = Entry.model_validate(
            {
                "attempt": attempt,
                "address": address,
                "process": "1 on there",
                "begun": f"2026-01-01T00:00:{self._number:02d}+00:00",
                "workers": workers,
                "device": "cpu",
                "seconds": float(seconds),
                "cpu_seconds": float(seconds * workers),
                "gpu_seconds": 0.0,
                "outcome": outcome,
                **changes,
            }
        )
        name = f"studies/{self.study.identity}/ledger/{address.replace('/', '-')}-{attempt}.json"
        self.store.write_json(name, entry.model_dump(mode="json"))
        return address

    def took_as_usual(self) -> None:
        """One result of every stage: 200, 20, 30 (alone), 100 (ce: 80) and 10 seconds of one worker."""
        for stage, seconds in (("pretrain", 100), ("collect_pairs", 10), ("fit_surrogate", 30), ("evaluate", 5)):
            self.took(stage, seconds)
        self.took("finetune", 50)
        self.took("finetune", 40, arm="ce")

    def address(self, stage: str, arm: str, seed: int = 0, values: dict[str, Scalar] | None = None) -> str:
        """Of a stage of a trial."""
        return plan(self.study.sample(values or {}, arm=arm, seed=seed))[stage].address

    def has(self, *addresses: str) -> None:
        """These results are in the store."""
        for address in addresses:
            (self.store.workspace(address) / "result").write_text("made up")
            self.store.commit(address, {})

    def has_trial(self, assignment: Assignment, names: Sequence[str] | None = None) -> None:
        """All results of a trial are in the store, or those of ``names``."""
        steps = [plan(spec) for spec in assignment.specs(self.study)]
        every = [step.address for each in steps for name, step in each.items() if names is None or name in names]
        self.has(*(address for address in every if not self.store.has(address)))

    def begun(self, arm: str, number: int, **values: Scalar) -> Assignment:
        """A trial that was handed out; ``finetune__lr`` stands for the dotted name."""
        named = {name.replace("__", "."): value for name, value in values.items()}
        assignment = Assignment(arm=arm, number=number, values=named)
        StudyRecords(self.study, self.store).hand_out(assignment)
        return assignment

    def ended(self, assignment: Assignment, state: State = "complete", epochs: int | None = None) -> None:
        """Its record is there, after so many epochs of fine-tuning on each seed; by default after all."""
        specs = assignment.specs(self.study)
        record = TrialRecord(
            assignment=assignment,
            state=state,
            score=0.5 - assignment.number / 100 if state == "complete" else None,
            error=None,
            seconds=1.0,
            runs=[self._run(spec, epochs) for spec in specs],
        )
        StudyRecords(self.study, self.store).write(record)

    def _run(self, spec: TrialSpec, epochs: int | None) -> SeedRun:
        number = spec.finetune.epochs if epochs is None else epochs
        stages = {name: step.address for name, step in plan(spec).items() if self.store.has(step.address)}
        history = [{"epoch": float(each), "loss": 1.0, "select_miou": 0.5} for each in range(1, number + 1)]
        return SeedRun(seed=spec.seed, stages=stages, history=history)

    @property
    def phases(self) -> list[Phase]:
        """What is still to be done."""
        return open_work(self.study, self.store, list(StudyRecords(self.study, self.store)))

    def offers(self, prices: PricesSpec | None = None, **speedups: float) -> list[Offer]:
        """What that would cost."""
        known = measured(self.study, self.store, list(StudyRecords(self.study, self.store)))
        return estimate(self.study, self.phases, known, prices or price_list(), speedups)

    def offer(self, prices: PricesSpec | None = None, **speedups: float) -> Offer:
        """The only one."""
        (only,) = self.offers(prices, **speedups)
        return only

    def works(self, phase: str) -> list[list[str]]:
        """``stage arm`` of each job of a phase; empty if there is none."""
        jobs = [job for each in self.phases if each.name == phase for job in each.jobs]
        return [[f"{work.stage} {work.arm}" for work in job] for job in jobs]


def made_up(folder: Path, **changes: Any) -> MadeUp:
    """A study with ``changes`` of which nothing has happened."""
    return MadeUp(make_study(**changes), FolderStore(folder / "store"))
