"""Does a surrogate's fidelity say how good the network becomes? A chart for each measure, with its rank correlation."""

from collections.abc import Iterator, Sequence
from math import isnan

import torch

from neuroiou_study.core.rank_correlation import rank_correlation
from neuroiou_study.report.charts import axes
from neuroiou_study.report.charts.chart import Cell, Chart, Row
from neuroiou_study.report.screened import MIN_POINTS
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.fit_surrogate import read_fidelity
from neuroiou_study.stages.records import TrialRecord
from neuroiou_study.stages.store import Store

MEASURES = {
    "r2": "R² of its value",
    "least_sign": "share of right signs, the worst of TP, FP, FN",
    "gain_error": "error of its gradient against the flip gains",
    "spearman": "rank correlation of its value",
}


def fidelity_charts(study: StudySpec, store: Store, records: Sequence[TrialRecord]) -> list[Chart]:
    """A chart for each measure, of all learned trials that are complete."""
    found = [row for record in records if record.assignment.arm in study.learned_arms for row in _row(record, store)]
    return [_chart(found, measure, study.learned_arms) for measure in MEASURES] if found else []


def _row(record: TrialRecord, store: Store) -> Iterator[Row]:
    """Of the first seed."""
    address = record.runs[0].stages.get("fit_surrogate") if record.runs and record.state == "complete" else None
    folder = store.find(address) if address else None
    if folder is not None and record.score is not None:
        numbers = read_fidelity(folder)
        signs = [numbers[f"sign_{name}"] for name in ("tp", "fp", "fn")]
        values = {**numbers, "least_sign": min(signs)}
        about: dict[str, Cell] = {"trial": record.assignment.name, "arm": record.assignment.arm, "score": record.score}
        yield {**about, **{name: values.get(name) for name in MEASURES}}


def _chart(found: Sequence[Row], measure: str, arms: Sequence[str]) -> Chart:
    data = [{name: row[name] for name in ("trial", "arm", "score", measure)} for row in found]
    encoding = {
        "x": axes.number(measure, MEASURES[measure], form=".4~f"),  # R² differs in its fourth digit
        "y": axes.number("score", "mean IoU on select"),
        "color": axes.arm(arms),
        "tooltip": axes.tooltip("trial", "score", measure),
    }
    says = f"A dot for each fine-tuned surrogate. {_in_words(data, measure)}"
    drawing = {**axes.WIDE, "height": 220, "mark": {"type": "point", "filled": True, "size": 70}, "encoding": encoding}
    return Chart(f"fidelity_{measure}", f"Fidelity: {MEASURES[measure]}", says, data, drawing)


def _in_words(data: Sequence[Row], measure: str) -> str:
    pairs = [(row[measure], row["score"]) for row in data]
    known = [(a, b) for a, b in pairs if isinstance(a, float) and isinstance(b, float) and not isnan(a + b)]
    if len(known) < MIN_POINTS:
        return f"{len(known)} are too few to say whether one follows the other."
    found = rank_correlation(*torch.tensor(known, dtype=torch.float64).T)
    if isnan(found.rho):
        return "All are alike, so that nothing follows."
    return f"Rank correlation {found.rho:+.2f} (p {found.p:.2g}, {len(known)} surrogates)."
