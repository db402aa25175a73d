"""``neuroiou-study …``: parse, call one function, print."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.progress import Progress, track
from rich.table import Table

from neuroiou_study import (
    __version__,
    cluster_cli,
    doctor_cli,
    plan_cli,
    report_cli,
    reproduce_cli,
    run_cli,
    terminal,
)
from neuroiou_study.given import default_tracking, given_store, given_study
from neuroiou_study.options import AllowCode, Document, File, Set, StoreAt, TrackingUri
from neuroiou_study.spec import StudySpec
from neuroiou_study.terminal import DONE, EXIT_CODES, at_the_door, err, is_quiet, or_fail, out

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
    study = given_study(file, overrides)
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

    study = given_study(file, overrides)

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
app.command()(run_cli.run)
app.command()(report_cli.status)
app.command()(report_cli.report)
app.command()(report_cli.export)


@app.command()
def sync(
    file: File,
    overrides: Set = [],  # noqa: B006
    store: StoreAt = "./runs",
    tracking_uri: TrackingUri = "",
) -> None:
    """Bring MLflow up to date with the store; it can rebuild everything."""
    from neuroiou_study.orchestrate import tracking

    study, opened = given_study(file, overrides), given_store(store)
    uri = tracking_uri or default_tracking(opened)
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


def _check_data(study: StudySpec) -> None:
    """Open every sample, with a bar on a terminal where that takes a while."""
    from neuroiou_study.stages.check_data import check_data, num_samples

    def check() -> None:
        total = num_samples(study)
        for _ in track(check_data(study), "checking data", total, console=err, transient=True, disable=is_quiet()):
            pass

    at_the_door(check)
