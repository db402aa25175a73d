"""The result of a chaos run as a table."""

from collections.abc import Iterable, Iterator

from tests.faults.case_run import CaseRun, Row

HEADER = ("killed", "when", "while it made", "recovered in", "work lost", "commands", "result")


def row_texts(run: CaseRun) -> Iterator[tuple[str, ...]]:
    """A row for each kill of a case; the result is that of the whole study."""
    result = f"{len(run.problems)} wrong" if run.problems else "as uninterrupted"
    for row in run.rows:
        yield (
            row.point.target,
            row.point.moment,
            _during(row),
            *_seconds(row),
            f"{run.commands}{' + sync' * run.has_synced}",
            result,
        )


def as_markdown(runs: Iterable[CaseRun]) -> str:
    """All cases as one table."""
    rows = [HEADER, tuple("---" for _ in HEADER), *(texts for run in runs for texts in row_texts(run))]
    return "".join(f"| {' | '.join(texts)} |\n" for texts in rows)


def _during(row: Row) -> str:
    return ", ".join(address.partition("/")[0] for address in row.during) or "nothing"


def _seconds(row: Row) -> tuple[str, str]:
    recovered = "–" if row.recovered_seconds is None else f"{row.recovered_seconds:.1f} s"
    return recovered, f"{row.lost_seconds:.2f} s"
