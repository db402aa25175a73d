"""``neuroiou-study run FILE``: a whole study."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuroiou_study import doctor_cli, plan_cli, terminal
from neuroiou_study.given import default_tracking, given_store, given_study
from neuroiou_study.options import (
    AllowCode,
    Backend,
    BackendName,
    File,
    LogFormat,
    LogFormatName,
    OptunaAt,
    Set,
    StoreAt,
    TrackingUri,
)
from neuroiou_study.report_cli import print_report
from neuroiou_study.terminal import BUSY, FAILED, Stopped, at_the_door, end, err, or_fail, out, stoppable

if TYPE_CHECKING:
    from neuroiou_study.orchestrate.where import Where
    from neuroiou_study.spec import StudySpec
    from neuroiou_study.stages.store import Store


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
    log_format: LogFormatName = LogFormat.auto,
) -> None:
    """Run a study to its end, or continue it: finished work is never repeated. Begins with what `doctor` checks."""
    from neuroiou_study.orchestrate.where import Where

    terminal.allow_code(allow_code)
    study, opened = given_study(file, overrides), given_store(store)
    if study.model.note:
        err.print(study.model.note, soft_wrap=True)
    default = default_tracking(opened)
    where = Where(backend.value, address, tracking_uri or default, optuna_storage)
    out.print(plan_cli.summary(study), soft_wrap=True)
    _run(study, opened, where, log_format)
    board = print_report(study, opened)
    seen_at = f"MLflow at {_redacted(tracking_uri)}" if tracking_uri else f"mlflow ui --backend-store-uri {default}"
    _say_what_next(file, overrides, store, seen_at)
    if empty := [row for row in board.arms if row.complete == 0]:
        hint = _GATED if all(row.gated for row in empty) else "see the errors above, change the file, run again"
        end(FAILED, f"no trial of {', '.join(row.arm for row in empty)} is complete: {hint}")


_GATED = (
    "no surrogate passed the gate, for the reasons above: give them more to be fitted to (pretrain.snapshots with "
    "collect_pairs.snapshots, collect_pairs.perturbed, more images), widen the ranges, or lower the gate knowingly"
)


def _say_what_next(file: Path, overrides: list[str], store: str, tracking: str) -> None:
    """The commands that a person wants now, with the same options; ``tracking`` says how MLflow is reached."""
    given = [part for each in overrides for part in ("--set", each)] + ["--store", store]
    report, export = (shlex.join(["neuroiou-study", verb, str(file), *given]) for verb in ("report", "export"))
    out.print(f"All of it, with charts: {report} --html report.html", soft_wrap=True)
    out.print(f"Every trial: {tracking}", soft_wrap=True)
    out.print(f"The best loss, to import: {export} --to my_loss", soft_wrap=True)


def _redacted(uri: str) -> str:
    from neuroiou_study.orchestrate.uris import redacted

    return redacted(uri)


def _run(study: StudySpec, store: Store, where: Where, log_format: LogFormat) -> None:
    from neuroiou_study.orchestrate.study import StudyBusyError, run_study
    from neuroiou_study.report.live.observe import observed
    from neuroiou_study.stages.records import StudyRecords

    try:
        with stoppable():
            doctor_cli.require_ready(study, store, where)
            at_the_door(StudyRecords(study, store).require_extension)
            with observed(study, store, err, log_format.value, _redacted(where.tracking_uri)) as observer:
                or_fail(lambda: run_study(study, store, where, observer))
    except StudyBusyError as error:
        end(BUSY, str(error))
    except Stopped as stopped:
        end(stopped.exit_code, "stopped; the same command continues where it stopped")
