"""An estimate for a terminal: what it is made from, and what each kind of machine would cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.table import Table

from neuroiou_study.report.bounds import Bounds
from neuroiou_study.report.estimate import Offer
from neuroiou_study.report.measured import Measured, Sample
from neuroiou_study.report.open_work import Phase, works_of
from neuroiou_study.spec.prices import PricesSpec

LEAST = 0.01
"""What is less is shown as that."""


@dataclass(frozen=True)
class MeasuredRow:
    """What a stage took one worker, in the arms for which the same results tell it."""

    stage: str
    arms: list[str]
    runs: int
    """How many of them are still to be run; of a screening, how many fits."""
    results: int
    mean_seconds: float
    least_seconds: float
    most_seconds: float
    is_calibration: bool


def measured_rows(phases: Sequence[Phase], known: Measured) -> list[MeasuredRow]:
    """A row for each stage that is still to be run and is known, in the order in which they are run."""
    groups: dict[tuple[str, tuple[Sample, ...]], list[str]] = {}
    for work in works_of(phases):
        groups.setdefault((work.stage, tuple(known.of(work.stage, work.arm))), []).extend(
            [work.arm] * round(work.times.most)
        )
    return [_row(stage, samples, arms) for (stage, samples), arms in groups.items() if samples]


def _row(stage: str, samples: Sequence[Sample], arms: Sequence[str]) -> MeasuredRow:
    seconds = [sample.seconds for sample in samples]
    return MeasuredRow(
        stage=stage,
        arms=list(dict.fromkeys(arms)),
        runs=len(arms),
        results=len(samples),
        mean_seconds=fmean(seconds),
        least_seconds=min(seconds),
        most_seconds=max(seconds),
        is_calibration=samples[0].is_calibration,
    )


def measured_table(rows: Sequence[MeasuredRow]) -> Table:
    """What is still to be run and what it takes."""
    table = Table(title="Still to be run, in seconds of one worker", title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("arms")
    for column in ("runs", "measured", "mean", "from – to"):
        table.add_column(column, justify="right")
    for row in rows:
        measured = "calibrated" if row.is_calibration else str(row.results)
        spread = f"{amount(row.least_seconds)} – {amount(row.most_seconds)}"
        table.add_row(row.stage, ", ".join(row.arms), str(row.runs), measured, amount(row.mean_seconds), spread)
    return table


def offers_table(offers: Sequence[Offer], prices: PricesSpec) -> Table:
    """Each kind of machine: how many, for how long, for how much; first what is likely, below what it is at most."""
    title = f"The rest of the study in {prices.currency}, at prices of {prices.date}"
    table = Table(title=title, title_justify="left")
    table.add_column("machine", no_wrap=True)
    for column in ("number", "trials\nat once", "hours", "machine\nhours", "spot", "on\ndemand"):
        table.add_column(column, justify="right")
    for offer in offers:
        fleet = offer.fleet
        amounts = (offer.hours, offer.machine_hours, offer.spot, offer.on_demand)
        table.add_row(
            f"{fleet.machine.name}\n  {fleet.machine.provider}",
            str(fleet.number),
            str(fleet.at_once),
            *map(_cell, amounts),
        )
    return table


def choice(offers: Sequence[Offer], currency: str) -> str:
    """The cheapest offer and the fastest, in a sentence."""
    cheapest, fastest = min(offers, key=lambda each: each.least.likely), min(offers, key=lambda each: each.hours.likely)
    return f"Likely cheapest: {_said(cheapest, currency)}. Fastest: {_said(fastest, currency)}."


def _said(offer: Offer, currency: str) -> str:
    market = "on demand" if offer.spot is None else "spot"
    machines = f"{offer.fleet.number} × {offer.fleet.machine.name} ({market})"
    return f"{machines}, {amount(offer.hours.likely)} h, {amount(offer.least.likely)} {currency}"


def _cell(bounds: Bounds | None) -> str:
    if bounds is None:
        return "–"
    most = bounds.most if bounds.most == 0 else max(bounds.most, LEAST)
    return f"{amount(bounds.likely)}\n≤ {amount(most)}"


def amount(value: float) -> str:
    """``value`` to hundredths, or three digits."""
    if 0 < value < LEAST:
        return f"< {LEAST}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.{1 if value >= 10 else 2}f}"
