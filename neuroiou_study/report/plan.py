"""What a study would do, and what the rest of it would take."""

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neuroiou_study.report.estimate import Offer, Speedups, estimate
from neuroiou_study.report.estimate_notes import notes
from neuroiou_study.report.estimate_tables import MeasuredRow, measured_rows
from neuroiou_study.report.measured import measured
from neuroiou_study.report.open_work import open_work
from neuroiou_study.report.status import StageRow, stage_rows
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.prices import PricesSpec
from neuroiou_study.stages.records import StudyRecords
from neuroiou_study.stages.store import Store


@dataclass(frozen=True)
class Plan:
    """The stages of a study; of what is still to be run, what it takes one worker; with prices, what it would cost."""

    study: str
    stages: Sequence[StageRow]
    measured: Sequence[MeasuredRow] = ()
    prices: PricesSpec | None = None
    offers: Sequence[Offer] = ()
    notes: Sequence[str] = ()

    def as_document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "study": self.study,
            "stages": [asdict(row) for row in self.stages],
            "measured": [asdict(row) for row in self.measured],
            "prices": self.prices and {"date": str(self.prices.date), "currency": self.prices.currency},
            "offers": [offer.as_document() for offer in self.offers],
            "notes": list(self.notes),
        }


def make_plan(study: StudySpec, store: Store) -> Plan:
    """The stages alone."""
    return Plan(study.identity, stage_rows(study, store, list(StudyRecords(study, store))))


def make_estimate(
    study: StudySpec, store: Store, prices: PricesSpec | None, speedups: Speedups, today: datetime.date
) -> Plan:
    """The stages and what is still to be run of them; with ``prices`` also what that costs.

    Raises ValueError, *where: value: rule: remedy*, where seconds are missing or no machine will do.
    """
    records = list(StudyRecords(study, store))
    phases, known = open_work(study, store, records), measured(study, store, records)
    stages, rows = stage_rows(study, store, records), measured_rows(phases, known)
    if prices is None:
        return Plan(study.identity, stages, rows)
    offers = estimate(study, phases, known, prices, speedups)
    said = notes(study, phases, records, known, prices, speedups, today)
    return Plan(study.identity, stages, rows, prices, offers, said)
