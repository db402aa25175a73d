"""What screening an arm's surrogates led to, and whether its ranking says anything about fine-tuning."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan

import torch
from rich.table import Table

from neuroiou_study.core.rank_correlation import rank_correlation
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.records import TrialRecord
from neuroiou_study.stages.screen import Screened, Screening, find_screening
from neuroiou_study.stages.store import Store

MIN_POINTS = 5
"""Fewer surrogates say nothing: of four even a perfect order has p = .08."""
SIGNIFICANT = 0.05
"""*Assumed*, as usual."""


@dataclass(frozen=True)
class ScreenedArm:
    """An arm's screening and the rank correlation of its measure with the mIoU on ``select`` after fine-tuning.

    A point is a surrogate with a complete trial, at the best of its trials. ``spearman`` and ``p`` are None where there
    are too few, or all are equal.
    """

    arm: str
    measure: str
    fitted: int
    passed: int
    sent: int
    failed: int
    num_points: int
    spearman: float | None
    p: float | None


def screened_arms(study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> list[ScreenedArm]:
    """Every arm whose screening is recorded."""
    found = [find_screening(study, arm, store) for arm in study.screened_arms]
    return [_screened_arm(study, screening, records) for screening in found if screening is not None]


def _screened_arm(study: StudySpec, screening: Screening, records: Sequence[TrialRecord]) -> ScreenedArm:
    points = list(_points(screening, records))
    correlation = rank_correlation(*torch.tensor(points, dtype=torch.float64).T) if len(points) >= MIN_POINTS else None
    is_known = correlation is not None and not isnan(correlation.rho)
    return ScreenedArm(
        arm=screening.arm,
        measure=screening.measure,
        fitted=sum(bool(each.fidelity) for each in screening.surrogates),
        passed=sum(each.passed for each in screening.surrogates),
        sent=len(screening.sent(study)),
        failed=sum(not each.fidelity for each in screening.surrogates),
        num_points=len(points),
        spearman=correlation.rho if correlation and is_known else None,
        p=correlation.p if correlation and is_known else None,
    )


def _points(screening: Screening, records: Sequence[TrialRecord]) -> Iterator[tuple[float, float]]:
    """The measure and the best score of each surrogate that has a complete trial."""
    for each in screening.surrogates:
        scores = [record.score for record in records if _is_trial_of(record, screening.arm, each)]
        known = [score for score in scores if score is not None and not isnan(score)]
        if known and not isnan(each.measure):
            yield each.measure, max(known)


def _is_trial_of(record: TrialRecord, arm: str, each: Screened) -> bool:
    values = record.assignment.values
    same = all(values.get(name) == value for name, value in each.values.items())
    return record.assignment.arm == arm and record.state == "complete" and same


def screening_table(rows: Sequence[ScreenedArm]) -> Table:
    """The screening for a terminal."""
    table = Table(title="Screening of surrogates", title_justify="left")
    table.add_column("arm", no_wrap=True)
    for column in ("fitted", "passed", "sent", "fine-tuned", "rank\ncorrelation", "p"):
        table.add_column(column, justify="right")
    for row in rows:
        counts = map(str, (row.fitted, row.passed, row.sent, row.num_points))
        rho = "–" if row.spearman is None else f"{row.spearman:+.2f}"
        table.add_row(row.arm, *counts, rho, "–" if row.p is None else f"{row.p:.3g}")
    return table


def screening_notes(row: ScreenedArm) -> Iterator[str]:
    """In plain sentences: what was kept back, and whether to trust the ranking."""
    if row.failed:
        yield f"Screening of {row.arm}: {row.failed} surrogates could not be fitted."
    if not row.passed:
        yield f"Screening of {row.arm}: no surrogate passed the gate; the best were sent, and it ended their trials."
    yield f"Screening of {row.arm} by {row.measure.replace('_', ' ')}: {_trust(row)}"


def _trust(row: ScreenedArm) -> str:
    if row.spearman is None or row.p is None:
        return f"{row.num_points} surrogates are fine-tuned, too few or too alike to say whether to trust it."
    found = (
        f"rank correlation {row.spearman:+.2f} with fine-tuned select mIoU ({row.num_points} surrogates, p {row.p:.2g})"
    )
    if row.p > SIGNIFICANT:
        return f"{found}: it may be chance; do not take the ranking for a prediction."
    if row.spearman < 0:
        return (
            f"{found}: better ranked ones were worse; do not trust it here, and screen with a larger top or not at all."
        )
    return f"{found}: better ranked ones were better; the ranking can be trusted among those that were sent."
