"""Options that several commands have, each said once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path, typer.Argument(metavar="FILE", help="The study, for example search_spaces/quickstart.yaml.")]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value: --set finetune.epochs=3; repeatable."),
]
StoreAt = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="URI",
        envvar="NEUROIOU_STORE",
        help="All results: a folder that all nodes see, or s3://bucket/prefix.",
    ),
]
TrackingUri = Annotated[
    str,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        envvar="MLFLOW_TRACKING_URI",
        help="MLflow server or database. Default: SQLite in the store.",
    ),
]
OptunaAt = Annotated[
    str | None,
    typer.Option(
        "--optuna-storage",
        metavar="URL",
        envvar="NEUROIOU_OPTUNA_STORAGE",
        help="Database of the search, such as postgresql+psycopg2://host/name. Default: a journal file in the store.",
    ),
]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Let `model.factory` run code of its own. Trust the file and the package.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


class Backend(StrEnum):
    """Where the work runs."""

    ray = "ray"
    local = "local"


BackendName = Annotated[Backend, typer.Option("--backend", help="`local` runs in this process, without Ray.")]


class LogFormat(StrEnum):
    """How a running study is told of."""

    auto = "auto"
    text = "text"
    json = "json"


LogFormatName = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        help="Of progress, on stderr. `auto`: a live view on a terminal, else `text`: a line for each event. "
        "`json`: each event as a line of JSON.",
    ),
]


class Document(StrEnum):
    """The files that a person writes."""

    study = "study"
    cluster = "cluster"
    prices = "prices"
