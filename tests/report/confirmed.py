"""A study whose trials have been confirmed, made up: its records and evaluations as the stages leave them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuroiou_study.core.significance import mean_scores
from neuroiou_study.report.verdict import Comparison, Confirmed, confirm
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.files import write_json
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.records import Assignment, SeedRun, State, StudyRecords, TrialRecord
from tests.studies import TINY

CLASSES = ("background", "disc", "box")
IMAGES, PIXELS, RESAMPLES = 16, 1000, 300
CONTROLS: dict[str, Any] = {
    "ce": {"name": "cross_entropy"},
    "soft_iou": {"name": "soft_iou"},
    "flip": {"name": "flip"},
}


def make_study(**changes: Any) -> StudySpec:
    """Search on seed 0, three controls, confirmation on seeds 1, 2 and 3."""
    confirmation = {"confirm": {"seeds": 3, "top": 2, "resamples": RESAMPLES}, "controls": CONTROLS}
    return StudySpec.model_validate({**TINY, **confirmation, **changes})


def make_counts(rate: float, seed: int, gains: Mapping[str, float]) -> Tensor:
    """``(N, C, 3)`` counts with about ``rate`` of each class right, more by its gain; some images are harder."""
    generator = torch.Generator().manual_seed(seed)
    noise = 0.01 * torch.randn((IMAGES, len(CLASSES)), generator=generator)
    difficulty = torch.linspace(-0.2, 0.2, IMAGES).unsqueeze(1)
    gain = torch.tensor([gains.get(name, 0.0) for name in CLASSES])
    right = (PIXELS * (rate + difficulty + noise + gain)).long().clamp(0, PIXELS)
    return torch.stack([right, (PIXELS - right) // 2, PIXELS - right], dim=-1)


@dataclass
class MadeUp:
    """A study, its store, and the records of its search."""

    study: StudySpec
    store: FolderStore
    records: list[TrialRecord] = field(default_factory=list)
    counts: dict[str, Tensor] = field(default_factory=dict)

    def searched(self, arm: str, number: int, score: float | None, state: State = "complete") -> Assignment:
        """A trial of the search."""
        assignment = Assignment(arm=arm, number=number, values={"finetune.lr": 1e-3 * (number + 1)})
        self._write(assignment, state, score, {})
        return assignment

    def confirmed(self, trial: Assignment, seed: int, rate: float | None, **gains: float) -> None:
        """A confirmation of ``trial`` on ``seed``; one without a ``rate`` has failed."""
        assignment = trial.model_copy(update={"fresh_seed": seed})
        if rate is None:
            return self._write(assignment, "failed", None, {})
        counts = make_counts(rate, 1000 * seed + len(self.counts), gains)
        self.counts[assignment.name] = counts
        address = f"evaluate/{assignment.name}"
        per_class = dict(zip(CLASSES, mean_scores(counts.unsqueeze(0))[2:].tolist(), strict=True))
        document = {"background": 0, "iou_per_class": per_class, "counts_per_image": counts.tolist()}
        write_json(self.store.workspace(address) / "metrics.json", document)
        self.store.commit(address, {})
        return self._write(assignment, "complete", 0.5, {"evaluate": address})

    def _write(self, assignment: Assignment, state: State, score: float | None, stages: dict[str, str]) -> None:
        seed = 0 if assignment.fresh_seed is None else assignment.fresh_seed
        record = TrialRecord(
            assignment=assignment,
            state=state,
            score=score,
            error="it broke" if state == "failed" else None,
            seconds=1.0,
            runs=[SeedRun(seed=seed, stages=stages, history=[])],
        )
        StudyRecords(self.study, self.store).write(record)
        if assignment.fresh_seed is None:
            self.records.append(record)

    def miou(self, trial: str, *seeds: int) -> float:
        """The mean over ``seeds`` of a trial's mean IoU on ``val``."""
        stacked = torch.stack([self.counts[f"{trial}-seed{seed}"] for seed in seeds])
        return float(mean_scores(stacked)[0])

    @property
    def verdicts(self) -> dict[str, Confirmed]:
        return confirm(self.study, self.store, self.records)

    def comparison(self, trial: str, control: str, measure: str = "miou") -> Comparison:
        found = self.verdicts[trial].against(control, measure)
        assert found is not None
        return found


def played(folder: Path, **changes: Any) -> MadeUp:
    """neuroiou-000 was second in the search and is first on ``val``: above ce, below flip, not far from soft_iou."""
    made = MadeUp(make_study(**changes), FolderStore(folder))
    rates = {"neuroiou-000": 0.62, "neuroiou-001": 0.6, "ce-000": 0.5, "soft_iou-000": 0.6201, "flip-000": 0.7}
    selects = {"neuroiou-000": 0.6, "neuroiou-001": 0.7, "ce-000": 0.5, "soft_iou-000": 0.6, "flip-000": 0.6}
    for name, rate in rates.items():
        arm, _, number = name.rpartition("-")
        if arm in made.study.arms:
            trial = made.searched(arm, int(number), selects[name])
            for seed in made.study.fresh_seeds:
                made.confirmed(trial, seed, rate)
    return made
