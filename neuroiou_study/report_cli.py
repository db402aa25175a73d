"""``neuroiou-study status | report | export FILE``: what a store has of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuroiou_study.given import given_store, given_study
from neuroiou_study.options import AsJson, File, Set, StoreAt
from neuroiou_study.terminal import Stopped, at_the_door, end, err, or_fail, out, print_json, stoppable

if TYPE_CHECKING:
    from neuroiou_study.report.leaderboard import Leaderboard
    from neuroiou_study.spec import StudySpec
    from neuroiou_study.stages.store import Store


def status(
    file: File,
    overrides: Set = [],  # noqa: B006
    store: StoreAt = "./runs",
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on showing it until nothing is left to run, or Ctrl-C.")
    ] = False,
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, help="How often to look.")] = 5.0,
) -> None:
    """Say where a study stands and who runs it, from any machine that sees its store."""
    from neuroiou_study.report.live.watch_status import watch_status
    from neuroiou_study.report.status import make_status, status_table

    study, opened = given_study(file, overrides), given_store(store)
    if not watch:
        found = make_status(study, opened)
        print_json(found.as_document()) if as_json else out.print(status_table(found))
        return
    try:
        with stoppable():
            watch_status(lambda: make_status(study, opened), out, every, as_json=as_json)
    except Stopped as stopped:
        end(stopped.exit_code, "stopped watching; the study goes on")


def report(
    file: File,
    overrides: Set = [],  # noqa: B006
    store: StoreAt = "./runs",
    as_json: AsJson = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as one HTML file that opens anywhere.")
    ] = None,
) -> None:
    """Print the leaderboard: the best of each arm, with its difference to the cross-entropy control."""
    study, opened = given_study(file, overrides), given_store(store)
    if html is not None:
        _write_page(study, opened, html)
        # What goes with JSON is not for the program that reads it.
        said = err if as_json else out
        said.print(f"{html}: the report of {study.identity}; it needs no other file", soft_wrap=True)
    if html is None or as_json:
        print_report(study, opened, as_json)


def export(
    file: File,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to write; created.")],
    overrides: Set = [],  # noqa: B006
    store: StoreAt = "./runs",
) -> None:
    """Write the best surrogate as a loss: `NeuroIoULoss.load(DIR)`, or `pip install DIR` where this program is not."""
    from neuroiou_study.report.export import export_loss
    from neuroiou_study.report.exported.package import write_package
    from neuroiou_study.stages.records import StudyRecords

    study, opened = given_study(file, overrides), given_store(store)
    records = list(StudyRecords(study, opened))
    best = or_fail(lambda: export_loss(study, opened, records, to))
    at_the_door(lambda: write_package(to))
    out.print(f"{to}: the surrogate of {best.assignment.name}; its README says how to use it", soft_wrap=True)


def print_report(study: StudySpec, store: Store, as_json: bool = False) -> Leaderboard:
    """Print the leaderboard, verdict and caveats."""
    from neuroiou_study.report.leaderboard import make_leaderboard
    from neuroiou_study.report.tables import as_tables, caveats, verdict
    from neuroiou_study.stages.records import StudyRecords

    board = make_leaderboard(study, store, list(StudyRecords(study, store)))
    if as_json:
        print_json(board.as_document())
        return board
    for table in as_tables(board):
        out.print(table)
    for note in filter(None, [verdict(board), *caveats(board)]):
        out.print(note, soft_wrap=True)
    return board


def _write_page(study: StudySpec, store: Store, to: Path) -> None:
    from neuroiou_study.orchestrate.importance import importances
    from neuroiou_study.report.page.make_page import make_page
    from neuroiou_study.stages.records import StudyRecords

    def make() -> str:
        records = list(StudyRecords(study, store))
        return make_page(study, store, records, importances(study, records))

    with err.status("making the report"):
        page = or_fail(make)
    at_the_door(lambda: to.write_text(page, encoding="utf-8"))
