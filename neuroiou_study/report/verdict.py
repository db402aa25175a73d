"""Is it really better? The confirmed trials against each other, on the images of ``val`` and on fresh seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from neuroiou_study.core.significance import (
    Difference,
    Draws,
    Scored,
    differences_of,
    draw,
    holm,
    mean_scores,
    scored,
)
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.budget import ConfirmSpec
from neuroiou_study.stages.evaluate import read_metrics
from neuroiou_study.stages.records import StudyRecords, TrialRecord
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.val import candidates

Verdict = Literal["better", "worse", "no difference"]
MEANS = ("miou", "miou_without_background")


@dataclass(frozen=True)
class Comparison:
    """A confirmed trial against a control. ``p_holm`` and ``verdict`` are corrected for the number of comparisons."""

    control: str
    measure: str  # miou, miou_without_background, or a class's name
    value: float
    low: float
    high: float
    p: float
    p_holm: float
    verdict: Verdict


@dataclass(frozen=True)
class Confirmed:
    """What a trial reached on ``val`` on the fresh seeds that did not fail."""

    trial: str
    arm: str
    seeds: list[int]
    scores: dict[str, float]  # of each measure, mean over seeds
    miou_per_seed: list[float]
    comparisons: list[Comparison]

    def against(self, control: str, measure: str = "miou") -> Comparison | None:
        """The comparison with ``control``, if there is one."""
        return next((each for each in self.comparisons if (each.control, each.measure) == (control, measure)), None)


def confirm(study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> dict[str, Confirmed]:
    """Trial → what its confirmation showed, for those that have one; nothing if the study has no ``confirm``."""
    if study.confirm is None:
        return {}
    counts, classes, background = _evaluations(study, store, records)
    measures = (*MEANS, *classes)
    comparisons = _compared(study, counts, measures, background)
    return {trial: _confirmed(trial, each, measures, background, comparisons[trial]) for trial, each in counts.items()}


_Counts = dict[int, Tensor]
"""Fresh seed → ``(N, C, 3)`` counts of the images of ``val``."""


def _evaluations(
    study: StudySpec, store: Store, records: Sequence[TrialRecord]
) -> tuple[dict[str, _Counts], tuple[str, ...], int | None]:
    """Trial → its counts, for the trials that are candidates now; the classes; the background."""
    found: dict[str, _Counts] = {record.assignment.name: {} for record in candidates(study, records)}
    classes, background = (), None
    for record in StudyRecords(study, store).confirmations():
        seed, name = record.assignment.fresh_seed, record.assignment.trial
        folder = store.find(record.runs[0].stages["evaluate"]) if record.state == "complete" else None
        if name in found and seed in study.fresh_seeds and folder is not None:
            metrics = read_metrics(folder)
            found[name][seed] = torch.tensor(metrics["counts_per_image"])
            classes, background = tuple(metrics["iou_per_class"]), metrics["background"]
    return {name: counts for name, counts in found.items() if counts}, classes, background


def _confirmed(
    trial: str, counts: _Counts, measures: Sequence[str], background: int | None, comparisons: list[Comparison]
) -> Confirmed:
    seeds = sorted(counts)
    stacked = torch.stack([counts[seed] for seed in seeds])
    per_seed = [float(mean_scores(each.unsqueeze(0), background=background)[0]) for each in stacked]
    scores = dict(zip(measures, mean_scores(stacked, background=background).tolist(), strict=True))
    return Confirmed(trial, trial.rpartition("-")[0], seeds, scores, per_seed, comparisons)


def _compared(
    study: StudySpec, counts: dict[str, _Counts], measures: Sequence[str], background: int | None
) -> dict[str, list[Comparison]]:
    """Every trial with every control but itself, Holm-corrected."""
    assert study.confirm is not None
    if not counts:
        return {}
    bootstrap = _Bootstrap(study.confirm, counts, background)
    found: dict[tuple[str, str, str], Difference] = {}
    for trial in counts:
        for other in counts:
            control = other.rpartition("-")[0]
            if control in study.controls and other != trial:
                each = bootstrap.differences(trial, other)
                found |= {(trial, control, name): one for name, one in zip(measures, each, strict=True)}
    corrected = _corrected(study, found)
    alpha = 1 - study.confirm.confidence
    made: dict[str, list[Comparison]] = {trial: [] for trial in counts}
    for (trial, control, measure), one in found.items():
        p_holm = corrected[trial, control, measure]
        verdict = _verdict(one, p_holm, alpha)
        made[trial].append(Comparison(control, measure, one.value, one.low, one.high, one.p, p_holm, verdict))
    return made


class _Bootstrap:
    """The draws of a study, on which each trial is scored once for all its comparisons on the same seeds."""

    def __init__(self, settings: ConfirmSpec, counts: dict[str, _Counts], background: int | None) -> None:
        self._settings, self._counts, self._background = settings, counts, background
        self._scored: dict[tuple[str, tuple[int, ...]], Scored] = {}
        self._draws: dict[int, Draws] = {}
        self._num_images, num_classes, _ = next(iter(next(iter(counts.values())).values())).shape
        self._num_measures = len(MEANS) + num_classes

    def differences(self, trial: str, other: str) -> list[Difference]:
        """Of the seeds that both trials have; NaN if there is none."""
        seeds = tuple(sorted(set(self._counts[trial]) & set(self._counts[other])))
        if not seeds:
            nan = float("nan")
            return [Difference(nan, nan, nan, nan)] * self._num_measures
        draws = self._draws_of(len(seeds))
        ours, theirs = (self._score(name, seeds, draws) for name in (trial, other))
        return differences_of(ours, theirs, draws, confidence=self._settings.confidence)

    def _draws_of(self, num_seeds: int) -> Draws:
        if num_seeds not in self._draws:
            resamples, block = self._settings.resamples, self._settings.images_per_block
            self._draws[num_seeds] = draw(num_seeds, self._num_images, resamples=resamples, images_per_block=block)
        return self._draws[num_seeds]

    def _score(self, trial: str, seeds: tuple[int, ...], draws: Draws) -> Scored:
        if (trial, seeds) not in self._scored:
            counts = torch.stack([self._counts[trial][seed] for seed in seeds])
            self._scored[trial, seeds] = scored(counts, draws, background=self._background)
        return self._scored[trial, seeds]


def _corrected(study: StudySpec, found: dict[tuple[str, str, str], Difference]) -> dict[tuple[str, str, str], float]:
    families: dict[object, dict[tuple[str, str, str], float]] = {}
    for key, one in found.items():
        families.setdefault(_family(study, *key), {})[key] = one.p
    return {key: p for family in families.values() for key, p in holm(family).items()}


def _family(study: StudySpec, trial: str, control: str, measure: str) -> object:
    """For a mean all comparisons of learned trials (or of controls) with controls; else the classes of one pair."""
    return (_is_learned(study, trial), measure) if measure in MEANS else (trial, control)


def _is_learned(study: StudySpec, trial: str) -> bool:
    return trial.rpartition("-")[0] in study.learned_arms


def _verdict(one: Difference, p_holm: float, alpha: float) -> Verdict:
    if not p_holm < alpha:
        return "no difference"
    return "better" if one.value > 0 else "worse"
