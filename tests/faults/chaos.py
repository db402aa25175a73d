"""Kill everything, at every moment, and see each study finish as if nothing had happened.

Usage: ``python -m tests.faults.chaos [--quick] [--seed N] [--only TEXT] [--markdown FILE]``, or ``make chaos``.
Exit code 1 if a study did not.
"""

import argparse
import functools
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from rich.console import Console

from tests.faults.case_run import PATIENCE_SECONDS, CaseRun
from tests.faults.ground import Ground, ground
from tests.faults.points import TARGETS, Case, cases_of, num_workers, quick_cases
from tests.faults.study_under_test import Outcome
from tests.faults.table import as_markdown, row_texts
from tests.faults.watch import Span, watched

LONGEST_PROBLEM = 500
_out = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Reference:
    """The study as it goes when nobody disturbs it."""

    outcome: Outcome
    spans: list[Span]


def main(arguments: Sequence[str]) -> int:
    """Run the cases that ``arguments`` ask for; returns the exit code."""
    asked = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that what it started ends too
    begin = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with ground(folder) as where:
        runs = list(run_cases(where, asked.seed, quick=asked.quick, only=asked.only))
    num_points, num_wrong = sum(len(run.rows) for run in runs), sum(bool(run.problems) for run in runs)
    _out.print(f"{num_points} kills, {len(runs)} studies, {num_wrong} wrong, {time.monotonic() - begin:.0f} s")
    if asked.markdown:
        asked.markdown.write_text(as_markdown(runs))
    if num_wrong or not runs:
        _out.print(f"kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def run_cases(where: Ground, seed: int, *, quick: bool = False, only: str = "") -> Iterator[CaseRun]:
    """Each case of the plan, after it has run."""
    reference = functools.cache(lambda workers: run_reference(where, workers))
    for number, case in enumerate(planned(seed, reference, quick=quick, only=only)):
        yield run_case(where, case, f"case{number:02d}", reference(case.workers))


def planned(seed: int, reference: Callable[[int], Reference], *, quick: bool, only: str) -> Iterator[Case]:
    """The cases whose names have ``only``; a ``reference`` is asked for if some of its cases may."""
    if quick:
        yield from (case for case in quick_cases(seed, reference(1).spans) if only in case.name)
        return
    named = [target for target in TARGETS if target in only] or TARGETS
    for target in named:
        spans = reference(num_workers(target)).spans
        yield from (case for case in cases_of(target, seed, spans) if only in case.name)


def run_reference(where: Ground, workers: int) -> Reference:
    """The study without a kill; AssertionError if even that does not succeed."""
    study = where.study(f"reference{workers}", workers, on_servers=False, own_cluster=False)
    with watched(study.store.scratch / "stages") as watch:
        driver = study.start()
        try:
            returncode = driver.wait(PATIENCE_SECONDS)
        finally:
            driver.kill()
        assert returncode == 0, study.log.read_text()
        return Reference(study.outcome(), watch.spans())


def run_case(where: Ground, case: Case, name: str, reference: Reference) -> CaseRun:
    """``case``, run to its end and shown."""
    own_cluster = any(point.target == "raylet" for point in case.points)
    study = where.study(name, case.workers, on_servers=case.on_servers, own_cluster=own_cluster)
    run = CaseRun(case, study, where)
    run.run(reference.outcome)
    for texts in row_texts(run):
        _out.print("  ".join(texts))
    for problem in run.problems:
        _out.print(f"    {shorten(problem, LONGEST_PROBLEM)}", style="red", markup=False)
    if not run.problems:
        shutil.rmtree(study.folder)
    return run


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few kills, in three minutes")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name has TEXT: driver, s3, …")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
