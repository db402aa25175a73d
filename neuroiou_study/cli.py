"""``neuroiou-study …``: parse, call one function, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, track
from rich.table import Table

from neuroiou_study import __version__, cluster_cli, doctor_cli, plan_cli, reproduce_cli, terminal
from neuroiou_study.options import (
    AllowCode,
    AsJson,
    Backend,
    BackendName,
    Document,
    File,
    OptunaAt,
    Set,
    StoreAt,
    TrackingUri,
)
from neuroiou_study.spec import StudySpec, load_study
from neuroiou_study.terminal import (
    BUSY,
    DONE,
    EXIT_CODES,
    FAILED,
    Stopped,
    at_the_door,
    end,
    err,
    is_quiet,
    or_fail,
    out,
    print_json,
    stoppable,
)

if TYPE_CHECKING:
    from neuroiou_study.orchestrate.where import Where
    from neuroiou_study.report.leaderboard import Leaderboard
    from neuroiou_study.stages.store import Store

app = typer.Typer(
    help="Which surrogate loss makes MY segmentation model better on MY data? One YAML file is one study.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def validate(
    file: File,
    overrides: Set = [],  # noqa: B006
    data: Annotated[bool, typer.Option(help="Open every image and label too.")] = True,
    allow_code: AllowCode = False,
) -> None:
    """Check a study file, and every image and label it names, without running anything."""
    terminal.allow_code(allow_code)
    study = _load(file, overrides)
    if data:
        _check_data(study)
    out.print(f"{file}: right. {plan_cli.summary(study)}", soft_wrap=True)
    if study.model.note:
        out.print(study.model.note, soft_wrap=True)


@app.command()
def data(file: File, overrides: Set = []) -> None:  # noqa: B006
    """Say what is in a study's data: images, sizes, and how frequent each class is in each split."""
    from neuroiou_study.report.data_table import data_table
    from neuroiou_study.stages.check_data import num_samples

    study = _load(file, overrides)

    def make() -> Table:
        with Progress(console=err, transient=True, disable=is_quiet()) as bar:
            task = bar.add_task("reading data", total=num_samples(study))
            return data_table(study, lambda _: bar.advance(task))

    out.print(at_the_door(make))


@app.command()
def schema(kind: Annotated[Document, typer.Argument(help="Of which files.")] = Document.study) -> None:
    """Print the JSON schema of study files, cluster files or price lists, for editors that complete YAML."""
    from neuroiou_study.spec.base import Spec
    from neuroiou_study.spec.cluster import ClusterSpec
    from neuroiou_study.spec.prices import PricesSpec

    specs: dict[Document, type[Spec]] = {
        Document.study: StudySpec,
        Document.cluster: ClusterSpec,
        Document.prices: PricesSpec,
    }
    sys.stdout.write(json.dumps(specs[kind].model_json_schema(), indent=2) + "\n")


app.command()(plan_cli.plan)


@app.command()
def run(
    file: File,
    overrides: Set = [],  # noqa: B006
    store: StoreAt = "./runs",
    tracking_uri: TrackingUri = "",
    optuna_storage: OptunaAt = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to use. Default: RAY_ADDRESS, else a local one for this run.")
    ] = None,
    backend: BackendName = Backend.ray,
    allow_code: AllowCode = False,
) -> None:
    """Run a study to its end, or continue it: finished work is never repeated. Begins with what `doctor` checks."""
    from neuroiou_study.orchestrate.where import Where

    terminal.allow_code(allow_code)
    study, opened = _load(file, overrides), at_the_door(lambda: _open_store(store))
    if study.model.note:
        err.print(study.model.note, soft_wrap=True)
    where = Where(backend.value, address, tracking_uri or _default_tracking(opened), optuna_storage)
    _run(study, opened, where)
    board = _print_report(study, opened)
    if not tracking_uri:
        out.print(f"Every trial: mlflow ui --backend-store-uri {_default_tracking(opened)}", soft_wrap=True)
    empty = [row.arm for row in board.arms if row.complete == 0]
    if empty:
        end(FAILED, f"no trial of {', '.join(empty)} is complete: see the errors above, change the file, run again")


@app.command()
def status(file: File, overrides: Set = [], store: StoreAt = "./runs", as_json: AsJson = False) -> None:  # noqa: B006
    """Say where a study stands and who runs it."""
    from neuroiou_study.report.status import make_status, status_table

    found = make_status(_load(file, overrides), at_the_door(lambda: _open_store(store)))
    print_json(found.as_document()) if as_json else out.print(status_table(found))


@app.command()
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
    study, opened = _load(file, overrides), at_the_door(lambda: _open_store(store))
    if html is not None:
        _write_page(study, opened, html)
    else:
        _print_report(study, opened, as_json)


@app.command()
def export(
    file: File,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder to write; created.")],
    overrides: Set = [],  # noqa: B006
    store: StoreAt = "./runs",
) -> None:
    """Write the best surrogate as a loss: `NeuroIoULoss.load(DIR)` in any PyTorch program."""
    from neuroiou_study.report.export import export_loss
    from neuroiou_study.stages.records import StudyRecords

    study, opened = _load(file, overrides), at_the_door(lambda: _open_store(store))
    records = list(StudyRecords(study, opened))
    best = or_fail(lambda: export_loss(study, opened, records, to))
    out.print(f"{to}: the surrogate of {best.assignment.name}; its README says how to use it", soft_wrap=True)


@app.command()
def sync(
    file: File,
    overrides: Set = [],  # noqa: B006
    store: StoreAt = "./runs",
    tracking_uri: TrackingUri = "",
) -> None:
    """Bring MLflow up to date with the store; it can rebuild everything."""
    from neuroiou_study.orchestrate import tracking

    study, opened = _load(file, overrides), at_the_door(lambda: _open_store(store))
    uri = tracking_uri or _default_tracking(opened)
    num_runs = or_fail(lambda: tracking.sync(study, opened, uri))
    out.print(f"{num_runs} trial runs are in MLflow", soft_wrap=True)


app.command()(doctor_cli.doctor)
app.add_typer(cluster_cli.app, name="cluster")
app.command()(reproduce_cli.reproduce)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    """Shown by --help of the whole program."""
    if show:
        out.print(__version__)
        raise typer.Exit(DONE)


def main() -> None:
    """The console script."""
    app()


def _load(file: Path, overrides: list[str]) -> StudySpec:
    return at_the_door(lambda: load_study(file, overrides))


def _open_store(store: str) -> Store:
    from neuroiou_study.stages.open_store import open_store

    return open_store(store)


def _default_tracking(store: Store) -> str:
    return f"sqlite:///{store.scratch / 'mlflow.db'}"


def _check_data(study: StudySpec) -> None:
    """Open every sample, with a bar on a terminal where that takes a while."""
    from neuroiou_study.stages.check_data import check_data, num_samples

    def check() -> None:
        total = num_samples(study)
        for _ in track(check_data(study), "checking data", total, console=err, transient=True, disable=is_quiet()):
            pass

    at_the_door(check)


def _run(study: StudySpec, store: Store, where: Where) -> None:
    from neuroiou_study.orchestrate.study import StudyBusyError, run_study
    from neuroiou_study.report.notices import notices
    from neuroiou_study.report.progress import ProgressView
    from neuroiou_study.report.status import num_runs
    from neuroiou_study.stages.records import StudyRecords

    try:
        with stoppable():
            doctor_cli.require_ready(study, store, where)
            at_the_door(StudyRecords(study, store).require_extension)
            with notices(err), ProgressView(study, num_runs(study), err) as view:
                or_fail(lambda: run_study(study, store, where, view))
    except StudyBusyError as error:
        end(BUSY, str(error))
    except Stopped as stopped:
        end(stopped.exit_code, "stopped; the same command continues where it stopped")


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
    out.print(f"{to}: the report of {study.identity}; it needs no other file", soft_wrap=True)


def _print_report(study: StudySpec, store: Store, as_json: bool = False) -> Leaderboard:
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
