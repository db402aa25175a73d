"""``neuroiou-study doctor FILE``: is everything that a study needs there, before anything is spent?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from neuroiou_study import terminal
from neuroiou_study.given import default_tracking, given_store, given_study
from neuroiou_study.options import AllowCode, AsJson, Backend, BackendName, File, OptunaAt, Set, StoreAt, TrackingUri
from neuroiou_study.terminal import WRONG_INPUT, Stopped, end, err, is_quiet, out, print_json, stoppable

if TYPE_CHECKING:
    from neuroiou_study.orchestrate.findings import Finding
    from neuroiou_study.orchestrate.preflight import Watch
    from neuroiou_study.orchestrate.where import Where
    from neuroiou_study.spec import StudySpec
    from neuroiou_study.stages.store import Store

MARKS = {"passed": "[green]✓[/]", "failed": "[red]✗[/]", "warned": "[yellow]![/]", "skipped": "[dim]–[/]"}

CATCHES_UP = ("tracking",)
"""What a study can begin without."""


class Data(StrEnum):
    """How many images are opened."""

    full = "full"
    sampled = "sampled"


def doctor(
    file: File,
    overrides: Set = [],  # noqa: B006
    store: StoreAt = "./runs",
    tracking_uri: TrackingUri = "",
    optuna_storage: OptunaAt = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster. Default: RAY_ADDRESS, else this machine, without Ray.")
    ] = None,
    backend: BackendName = Backend.ray,
    data: Annotated[Data, typer.Option(help="`sampled` opens at most 64 images of each split.")] = Data.full,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Check everything a study needs: store, servers, data, machines. Exit code 2 if something is missing."""
    from neuroiou_study.orchestrate.where import Where

    terminal.allow_code(allow_code)
    study, opened = given_study(file, overrides), given_store(store)
    uri = tracking_uri or default_tracking(opened)
    try:
        with stoppable():
            findings = _findings(study, opened, Where(backend.value, address, uri, optuna_storage), data, as_json)
    except Stopped as stopped:
        end(stopped.exit_code, "stopped")
    if as_json:
        print_json([asdict(finding) for finding in findings])
    failed = [finding.name for finding in findings if finding.has_failed]
    if failed:
        end(WRONG_INPUT, f"{file}: not ready: {', '.join(failed)}")


def _findings(study: StudySpec, store: Store, where: Where, data: Data, as_json: bool) -> list[Finding]:
    """All that is found; unless it is for a program, each is printed as soon as it is known."""
    from neuroiou_study.orchestrate.preflight import SAMPLED, preflight

    findings = []
    with watched() as watch:
        for finding in preflight(study, store, where, at_most=SAMPLED if data is Data.sampled else None, watch=watch):
            findings.append(finding)
            if not as_json:
                show(finding)
    return findings


def require_ready(study: StudySpec, store: Store, where: Where) -> None:
    """End the program with exit code 2 if a study cannot run as it is; say what else is not as it should be.

    MLflow may be away: a study catches up with it.
    """
    from neuroiou_study.orchestrate.preflight import preflight

    with watched() as watch:
        findings = list(preflight(study, store, where, watch=watch))
    failed = [finding for finding in findings if finding.has_failed and finding.name not in CATCHES_UP]
    for finding in findings:
        if finding not in failed and (finding.has_failed or finding.state == "warned"):
            err.print(finding.text, style="yellow", soft_wrap=True, markup=False, highlight=False)
    if failed:
        end(WRONG_INPUT, "\n".join(finding.text for finding in failed))


def show(finding: Finding) -> None:
    """Print a line: mark, name, what was found."""
    out.print(f"{MARKS[finding.state]} {finding.name:<12}{escape(finding.text)}", soft_wrap=True)


@contextmanager
def watched() -> Iterator[Watch]:
    """What shows, on a terminal, what is being checked and how far it is."""
    columns = (SpinnerColumn(), TextColumn("checking {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=is_quiet()) as bar:
        task = bar.add_task("")

        def watch(name: str, done: int, total: int | None) -> None:
            bar.update(task, description=name, completed=done, total=total)

        yield watch
