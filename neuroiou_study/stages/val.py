"""The split that decides, opened once: for the winners of the search, or for their confirmation on fresh seeds."""

from collections.abc import Sequence
from dataclasses import replace

from neuroiou_study.spec import StudySpec, TrialSpec
from neuroiou_study.spec.trial import EvaluateSpec
from neuroiou_study.stages.backend import Worker
from neuroiou_study.stages.pipeline import plan, run_stages
from neuroiou_study.stages.records import Assignment, StudyRecords, TrialRecord, best_of, ranked
from neuroiou_study.stages.store import Store


def confirmations(study: StudySpec, records: Sequence[TrialRecord]) -> list[Assignment]:
    """What is run again: the best configurations of each learned arm and the best of each control, by fresh seed.

    The seeds of one configuration are neighbours, so that several workers begin with different pretrainings.
    """
    return [
        record.assignment.model_copy(update={"fresh_seed": seed})
        for record in candidates(study, records)
        for seed in study.fresh_seeds
    ]


def open_confirmations(study: StudySpec, store: Store) -> list[Assignment]:
    """The confirmations that have no record yet."""
    records = StudyRecords(study, store)
    return [each for each in confirmations(study, list(records)) if records.find(each) is None]


def candidates(study: StudySpec, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials whose ``val`` counts, by arm, the best of an arm first: one of an arm, or ``confirm.top``."""
    top = dict.fromkeys(study.learned_arms, study.confirm.top if study.confirm else 1)
    return [record for arm in study.arms for record in ranked(records, arm)[: top.get(arm, 1)]]


def finals(study: StudySpec, records: Sequence[TrialRecord]) -> dict[str, tuple[TrialSpec, ...]]:
    """Arm → its best trial, for each seed, on ``val``; nothing if the study confirms on fresh seeds instead."""
    if study.confirm is not None:
        return {}
    best = {arm: best_of(records, arm) for arm in study.arms}
    split = EvaluateSpec(split="val", batch_size=study.evaluate.batch_size)
    return {
        arm: tuple(spec.model_copy(update={"evaluate": split}) for spec in record.assignment.specs(study))
        for arm, record in best.items()
        if record is not None
    }


def run_finals(study: StudySpec, store: Store, worker: Worker) -> None:
    """Evaluate the best trial of each arm on ``val``."""
    worker = replace(worker, account=study.identity)
    for specs in finals(study, list(StudyRecords(study, store))).values():
        for spec in specs:
            run_stages(spec, store, worker, ["evaluate"])


def has_finals(study: StudySpec, store: Store) -> bool:
    """Is the best trial of each arm, as it is now, evaluated on ``val``?"""
    best = finals(study, list(StudyRecords(study, store))).values()
    return all(store.has(plan(spec)["evaluate"].address) for specs in best for spec in specs)
