"""Screening an arm: many surrogates fitted together, gated and ranked, before any of them is fine-tuned.

Each fit is left in the store where the stage would leave it, so that a trial finds it there; whatever is there is not
fitted again. The result is recorded once and then decides which surrogates the arm's trials have.
"""

import contextlib
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from statistics import fmean
from typing import Literal

from pydantic import ConfigDict
from safetensors.torch import load_file

from neuroiou_study.core.fitting import Fit, Rows
from neuroiou_study.core.fitting_together import FitFailed, fits_as_they_end
from neuroiou_study.spec import Scalar, StudySpec, TrialSpec
from neuroiou_study.spec.base import Spec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Listener, LocalWorker, Progress, Worker
from neuroiou_study.stages.collect_pairs import PAIRS_FILE, sums_name
from neuroiou_study.stages.draw import Values, draw_surrogates
from neuroiou_study.stages.fit_surrogate import read_fidelity, rows_of, save_fit, wanted_of
from neuroiou_study.stages.gate import missed_by
from neuroiou_study.stages.lease import Lease
from neuroiou_study.stages.ledger import metered
from neuroiou_study.stages.pipeline import plan, run_stages
from neuroiou_study.stages.records import study_folder
from neuroiou_study.stages.store import Store

Measure = Literal["gradient_cosine", "flip_gain_cosine"]


class Screened(Spec):
    """One surrogate of a screening. What it ``missed`` of the gate, on any seed, or why it could not be fitted."""

    model_config = ConfigDict(allow_inf_nan=True)  # a measure is NaN where no row qualifies

    values: dict[str, Scalar]
    passed: bool
    missed: list[str]
    measure: float
    fidelity: list[dict[str, float]]


class Screening(Spec):
    """The surrogates of one arm, the best first: those that passed, the others, those that could not be fitted.

    ``measure`` is what they are ranked by, the mean over ``seeds``: the cosine of the gradient with the IoU loss's
    derivative, or with the flip gains where any surrogate learns gains.
    """

    arm: str
    measure: Measure
    seeds: list[int]
    surrogates: list[Screened]

    def sent(self, study: StudySpec) -> list[Values]:
        """The surrogates that the arm's trials have, the best first.

        Where none passes, the best are sent nevertheless: the gate ends their trials, each with what it missed.
        """
        assert study.screen is not None
        passed = [each.values for each in self.surrogates if each.passed]
        fitted = [each.values for each in self.surrogates if each.fidelity]
        everything = [each.values for each in self.surrogates]
        return (passed or fitted or everything)[: study.screen.top or study.budget.max_trials]


def run_screening(study: StudySpec, store: Store, worker: Worker) -> None:
    """Screen every arm of ``study`` that is to be screened and is not; one worker is enough for it."""
    for arm in study.screened_arms:
        if find_screening(study, arm, store) is None:
            collect_for_screening(study, arm, store, worker)
            worker.from_first(functools.partial(_screen, study, arm, store, worker))


def collect_for_screening(study: StudySpec, arm: str, store: Store, worker: Worker) -> None:
    """Complete what the surrogates of ``arm`` are fitted to, for each seed; all workers help."""
    worker = replace(worker, account=study.identity)
    for seed in study.seeds:
        run_stages(study.sample({}, arm=arm, seed=seed), store, worker, ["pretrain", "collect_pairs"])


def lacks_pairs(study: StudySpec, arm: str, store: Store) -> bool:
    """Is anything missing that the surrogates of ``arm`` are fitted to?"""
    plans = [plan(study.sample({}, arm=arm, seed=seed)) for seed in study.seeds]
    return not all(store.has(each["collect_pairs"].address) for each in plans)


def has_screening(study: StudySpec, store: Store) -> bool:
    """Is every arm screened that is to be?"""
    return all(find_screening(study, arm, store) is not None for arm in study.screened_arms)


def find_screening(study: StudySpec, arm: str, store: Store) -> Screening | None:
    """The screening of an arm as it is recorded, or None while it is not."""
    document = store.read_json(_document(study, arm))
    return None if document is None else Screening.model_validate(document)


def num_fitted(study: StudySpec, arm: str, store: Store) -> int:
    """How many of the arm's screened surrogates are in the store, over all seeds."""
    specs = [study.sample(values, arm=arm, seed=seed) for values in draw_surrogates(study, arm) for seed in study.seeds]
    return sum(store.has(address) for address in {plan(spec)["fit_surrogate"].address for spec in specs})


@dataclass(frozen=True)
class _Open:
    """A surrogate that is to be fitted, and the right to do it."""

    spec: TrialSpec
    lease: Lease


def _screen(study: StudySpec, arm: str, store: Store, worker: Worker) -> None:
    candidates = draw_surrogates(study, arm)
    reasons: dict[str, str] = {}
    with metered(f"screen/{arm}", store, replace(worker, account=study.identity)) as meter:
        for seed in study.seeds:
            specs = [study.sample(values, arm=arm, seed=seed) for values in candidates]
            reasons |= _fit_all(specs, store, worker.listener)
        meter.close("complete")
    store.write_json(_document(study, arm), _ranked(study, arm, candidates, reasons, store).model_dump(mode="json"))


def _document(study: StudySpec, arm: str) -> str:
    return f"{study_folder(study)}/screening/{arm}.json"


def _fit_all(specs: Sequence[TrialSpec], store: Store, listener: Listener) -> dict[str, str]:
    """Make every surrogate of one seed complete that can be fitted; address → reason for those that cannot."""
    reasons: dict[str, str] = {}
    with contextlib.ExitStack() as held:
        missing = list(_take(specs, store, held))
        done = len(specs) - len(missing)
        for group in _with_equal_rows(missing):
            for each, fit in _fit_group(group, store):
                address = plan(each.spec)["fit_surrogate"].address
                if isinstance(fit, FitFailed):
                    reasons[address] = fit.reason
                done += 1
                listener(Progress("screen", each.spec.seed, done, len(specs), {}))
    for spec in specs:
        # What another study of the store is fitting.
        if plan(spec)["fit_surrogate"].address not in reasons:
            run_stages(spec, store, LocalWorker(listener=listener), ["fit_surrogate"])
    return reasons


def _take(specs: Sequence[TrialSpec], store: Store, held: contextlib.ExitStack) -> Iterator[_Open]:
    """Those that are missing and that nobody else is making, each once."""
    for address, spec in {plan(spec)["fit_surrogate"].address: spec for spec in specs}.items():
        lease = None if store.has(address) else store.try_lease(address)
        if lease is not None:
            held.enter_context(lease)
            if not store.has(address):  # it may have been finished between our look and our turn
                yield _Open(spec, lease)


def _with_equal_rows(missing: Sequence[_Open]) -> list[list[_Open]]:
    """Groups that read the same sums of D, added up over the same images."""
    groups: dict[object, list[_Open]] = defaultdict(list)
    for each in missing:
        settings = each.spec.fit_surrogate
        sums = sums_name(build.surrogate_config(settings, 1).inputs)
        groups[sums, settings.aggregate, settings.images_per_row].append(each)
    return list(groups.values())


def _fit_group(group: Sequence[_Open], store: Store) -> Iterator[tuple[_Open, Fit | FitFailed]]:
    """Fit a group together and leave each fit in the store as soon as it is there."""
    spec = group[0].spec
    dataset = build.dataset(spec.data, "train")
    pairs = store.verified(plan(spec)["collect_pairs"].address)
    parts = rows_of(spec, load_file(pairs / PAIRS_FILE), dataset.num_classes)
    wanted = [wanted_of(each.spec, dataset.num_classes) for each in group]
    for number, fit in fits_as_they_end(Rows.concatenated(parts), wanted):
        if isinstance(fit, Fit):
            step = plan(group[number].spec)["fit_surrogate"]
            save_fit(fit, parts, group[number].spec, dataset.ignore_index, store.workspace(step.address))
            store.commit(step.address, step.origin(group[number].spec))
        yield group[number], fit


def _ranked(
    study: StudySpec, arm: str, candidates: Sequence[Values], reasons: Mapping[str, str], store: Store
) -> Screening:
    bases = [study.sample(values, arm=arm) for values in candidates]
    learns_gains = any(base.fit_surrogate.flip_gain_weight > 0 for base in bases)
    measure: Measure = "flip_gain_cosine" if learns_gains else "gradient_cosine"
    found = [_screened(study, arm, values, measure, reasons, store) for values in candidates]
    return Screening(arm=arm, measure=measure, seeds=list(study.seeds), surrogates=sorted(found, key=_place))


def _screened(
    study: StudySpec, arm: str, values: Values, measure: Measure, reasons: Mapping[str, str], store: Store
) -> Screened:
    specs = [study.sample(values, arm=arm, seed=seed) for seed in study.seeds]
    addresses = [plan(spec)["fit_surrogate"].address for spec in specs]
    failures = [reasons[address] for address in addresses if address in reasons]
    if failures:
        return Screened(values=values, passed=False, missed=failures, measure=nan, fidelity=[])
    folders = [store.find(address) for address in addresses]
    reports = [read_fidelity(folder) for folder in folders if folder is not None]
    missed = [line for spec, report in zip(specs, reports, strict=True) for line in missed_by(spec, report)]
    mean = fmean(report[measure] for report in reports)
    return Screened(values=values, passed=not missed, missed=missed, measure=mean, fidelity=reports)


def _place(each: Screened) -> tuple[bool, bool, float]:
    """To sort by, the best first; what could not be measured stands last of its kind."""
    return not each.passed, not each.fidelity, 2.0 if isnan(each.measure) else -each.measure
