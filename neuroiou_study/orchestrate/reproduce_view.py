"""The reproduced figures and tables in MLflow: the experiment ``reproduce``, a run for each target and its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neuroiou_study.orchestrate import tracking
from neuroiou_study.orchestrate.mlflow_run import MlflowRun
from neuroiou_study.orchestrate.mlflow_view import open_experiment
from neuroiou_study.orchestrate.shown import ONCE, Series
from neuroiou_study.orchestrate.uris import database
from neuroiou_study.report.reproduced import Reproduction

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "reproduce"


class ReproduceView:
    """The view at ``uri``: ``http(s)://…`` or ``sqlite:////folder/mlflow.db`` with its files beside it.

    Raises ValueError for another uri.
    """

    FAILURES = tracking.FAILURES
    """What :meth:`show` raises if MLflow does not take it."""

    def __init__(self, uri: str) -> None:
        tracking.set_defaults()
        self._uri, self._database = uri, database(uri)

    def show(self, made: Reproduction, files: Sequence[Path]) -> None:
        """The target's run, the same each time, has the numbers, the note and the files of ``made``."""
        with tracking.quiet():
            self._show(made, files)

    def _show(self, made: Reproduction, files: Sequence[Path]) -> None:
        if self._database is not None:
            self._database.parent.mkdir(parents=True, exist_ok=True)
        # Here: tracking sets what MLflow reads when it is imported.
        from mlflow import MlflowClient

        client = MlflowClient(self._uri, registry_uri=self._uri)
        run = self._run(client, open_experiment(client, EXPERIMENT, self._database, {}), made)
        run.begin()
        run.describe({}, {"mlflow.note.content": _note(made)})
        run.log(_numbers(made))
        for path in files:
            # Whatever its size: MlflowRun.upload would keep an older one of equal size.
            client.log_artifact(run.id, str(path))
        run.end("FINISHED")

    def _run(self, client: MlflowClient, experiment: str, made: Reproduction) -> MlflowRun:
        tags = {"neuroiou.target": made.target, "neuroiou.data": made.setting.data}
        tags |= {"neuroiou.smoke": str(made.setting.is_smoke).lower(), "neuroiou.kind": "reproduction"}
        condition = " AND ".join(f"tags.`{name}` = '{text}'" for name, text in tags.items())
        found = client.search_runs([experiment], condition, max_results=1, order_by=["start_time ASC"])
        return MlflowRun(client, found[0] if found else client.create_run(experiment, tags=tags, run_name=_name(made)))


def _name(made: Reproduction) -> str:
    return f"{made.target} (smoke)" if made.setting.is_smoke else made.target


def _note(made: Reproduction) -> str:
    document = made.as_document()
    studies = ", ".join(f"`{identity}`" for identity in document["studies"].values()) or "none"
    title = made.setting.title(f"# {made.target}").replace("\n", "\n\n")
    return f"{title}\n\n{made.headline}\n\nThe paper (cited): {document['paper']['claim']}\n\nStudies: {studies}"


def _numbers(made: Reproduction) -> Series:
    return {name: {ONCE: value} for name, value in _flat("ours", made.ours)}


def _flat(name: str, value: object) -> Iterator[tuple[str, float]]:
    """The numbers in a document under ``a/b/c``, in the letters that MLflow allows."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}/{_plain(str(key))}", inner)
    elif isinstance(value, int | float):
        yield name, float(value)


def _plain(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-. " else "_" for letter in text)
