"""A study in MLflow: one experiment, a flat run for each trial, one summary run and the champion in the registry.

Nothing here waits or forgives: methods raise if MLflow does not take what they write, and all of them may be
repeated. How a study lives with an MLflow that is away is decided in ``tracking.py``.
"""

import sqlite3
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient

from neuroiou_study.orchestrate.champion import register_champion
from neuroiou_study.orchestrate.descriptions import COLOUR, NOTE, experiment_note, trial_note
from neuroiou_study.orchestrate.inputs import dataset_inputs
from neuroiou_study.orchestrate.mlflow_run import MlflowRun
from neuroiou_study.orchestrate.shown import (
    epoch_metrics,
    fresh_epoch_metrics,
    parameters,
    shared_metrics,
    trial_files,
    trial_metrics,
)
from neuroiou_study.orchestrate.study_files import write_study_files
from neuroiou_study.orchestrate.summary import leaderboard_table, note, study_parameters, summary_metrics
from neuroiou_study.orchestrate.uris import database, public
from neuroiou_study.report.charts.axes import arm_colour
from neuroiou_study.report.epoch_pictures import epoch_pictures
from neuroiou_study.report.leaderboard import Leaderboard, make_leaderboard
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.ledger import Ledger
from neuroiou_study.stages.made_with import made_with
from neuroiou_study.stages.mlflow_runs import MlflowRuns, note_mlflow_runs
from neuroiou_study.stages.records import Assignment, TrialRecord, best_of
from neuroiou_study.stages.store import Store

SUMMARY = "summary"
STATUS = {"complete": "FINISHED", "pruned": "KILLED", "gated": "KILLED", "failed": "FAILED"}
KINDS = ("trial", "confirmation")


class MlflowView:
    """The view of ``study`` at ``uri``: ``http(s)://…``, or ``sqlite:////folder/mlflow.db`` with its files beside it.

    Raises ValueError for another uri. Connects when it is first used.
    """

    def __init__(self, study: StudySpec, store: Store, uri: str) -> None:
        self._study, self._store, self._uri = study, store, uri
        self._database = database(uri)
        self._ids: dict[str, str] = {}
        self.forget()

    def forget(self) -> None:
        """Read everything afresh next time: what was written last may have arrived or not."""
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._runs: dict[str, MlflowRun] = {}

    def open(self) -> None:
        """The experiment and the running summary are there; a new SQLite database is made."""
        self._summary().begin()

    def begin(self, assignment: Assignment) -> None:
        """The run of a trial is there and RUNNING."""
        run = self._trial(assignment)
        run.begin()
        run.describe({}, {"neuroiou.state": "running"})

    def progress(self, assignment: Assignment | None, progress: Progress) -> None:
        """The run of a trial (or, of what all trials share, the summary) has an epoch more."""
        run = self._trial(assignment) if assignment else self._summary()
        if assignment is None and progress.seed not in self._study.seeds:
            run.log(fresh_epoch_metrics(progress))
        else:
            run.log(
                epoch_metrics(assignment.seeds(self._study) if assignment else self._study.seeds, progress, run.steps)
            )

    def mirror(self, record: TrialRecord) -> None:
        """The run of a trial that has ended shows everything of it."""
        run = self._trial(record.assignment, record.seconds)
        run.log(trial_metrics(self._study, record, self._store))
        run.upload(trial_files(self._study, record, self._store))
        if record.error is None:
            run.drop_tag("neuroiou.error")
        else:
            run.describe({}, {"neuroiou.error": record.error})
        run.describe({}, {"neuroiou.state": record.state})
        run.end(STATUS[record.state])  # last: it says that all of the above is there
        del self._runs[record.assignment.name]

    def missing(self, records: Sequence[TrialRecord]) -> list[TrialRecord]:
        """Those of ``records`` whose run does not say that it shows them."""
        if not records:
            return []  # reading all runs takes half a minute where there are 5,000 (measured)
        runs = [run for kind in KINDS for run in self._search({"neuroiou.kind": kind})]
        self._ids |= {str(run.tag("neuroiou.trial")): run.id for run in runs}
        there = {(run.tag("neuroiou.trial"), run.tag("neuroiou.state"), run.status) for run in runs}
        return [r for r in records if (r.assignment.name, r.state, STATUS[r.state]) not in there]

    def stop_unrecorded(self, records: Sequence[TrialRecord]) -> None:
        """Runs of trials that never ended, because their driver died, do not stay RUNNING."""
        names = {record.assignment.name for record in records}
        running = [run for kind in KINDS for run in self._search({"neuroiou.kind": kind, "neuroiou.state": "running"})]
        for run in running:
            if run.tag("neuroiou.trial") not in names:
                run.describe({}, {"neuroiou.state": "stopped"})
                run.end("KILLED")

    def conclude(self, records: Sequence[TrialRecord]) -> None:
        """The winners show what they reached on ``val``, the summary run the result, the registry the champion."""
        for winner in filter(None, (best_of(records, arm) for arm in self._study.arms)):
            self.mirror(winner)
            self._trial(winner.assignment).take_images(epoch_pictures(self._study, self._store, winner))
        summary, board = self._summary(), make_leaderboard(self._study, self._store, records)
        register_champion(self._connected(), self._experiment, summary.id, self._study, self._store, records, board)
        cost = Ledger(self._study.identity, self._store).total()
        summary.log({**summary_metrics(board, cost), **shared_metrics(self._study, self._store)})
        self._connected().log_dict(summary.id, leaderboard_table(board), "leaderboard.json")
        note_mlflow_runs(
            self._study, self._store, MlflowRuns(uri=public(self._uri), experiment=self._experiment, runs=self._ids)
        )
        self._upload_study_files(records, board)
        summary.describe({}, {NOTE: note(self._study, board, self._store.address), **self._source()})
        link = self._link(summary.id)
        self._connected().set_experiment_tag(self._experiment, NOTE, experiment_note(self._study, board, link))
        summary.end("FINISHED")

    def _upload_study_files(self, records: Sequence[TrialRecord], board: Leaderboard) -> None:
        """The report and its figures are among the summary's files, as they are now."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                write_study_files(self._study, self._store, records, board, Path(folder))
            except ValueError as error:  # nothing that is only looked at may end a study
                raise RuntimeError(f"report of {self._study.identity}: {error}") from error
            files = {str(path.relative_to(folder)): path for path in Path(folder).rglob("*.*")}
            self._summary().upload(files)

    def _source(self) -> dict[str, str]:
        """The code of the last driver, under the tags that MLflow shows as the source of a run."""
        made = made_with(self._study, self._store)
        revisions = sorted({each.revision for each in made if each.revision})
        tags = {"mlflow.source.name": "neuroiou-study", "mlflow.source.type": "PROJECT"}
        return tags | ({"mlflow.source.git.commit": ", ".join(revisions)} if revisions else {})

    def _link(self, run_id: str) -> str:
        return f"#/experiments/{self._experiment}/runs/{run_id}"

    def _trial(self, assignment: Assignment, age_seconds: float = 0) -> MlflowRun:
        if assignment.name in self._runs:
            return self._runs[assignment.name]  # of each epoch nothing is described anew
        tags = {"neuroiou.trial": assignment.name, "neuroiou.arm": assignment.arm}
        tags |= {"neuroiou.number": str(assignment.number), "neuroiou.state": "running"}
        tags |= {COLOUR: arm_colour(self._study.arms, assignment.arm)}
        tags |= {NOTE: trial_note(self._study, assignment, self._link(self._summary().id))}
        kind = "trial" if assignment.fresh_seed is None else "confirmation"
        return self._run(assignment.name, kind, tags, parameters(self._study, assignment), age_seconds)

    def _summary(self) -> MlflowRun:
        return self._run(SUMMARY, "summary", {}, study_parameters(self._study))

    def _run(
        self, name: str, kind: str, tags: Mapping[str, str], params: Mapping[str, str], age_seconds: float = 0
    ) -> MlflowRun:
        """The one run with these tags, made if it is not there."""
        if name not in self._runs:
            tags = {"neuroiou.study": self._study.identity, "neuroiou.kind": kind, **tags}
            # By one tag: MLflow looks through the runs of the experiment once for each.
            key = "neuroiou.trial" if "neuroiou.trial" in tags else "neuroiou.kind"
            run = self._sole({key: tags[key]}, params) or self._new_run(name, tags, age_seconds)
            run.describe(params, {})
            run.take_inputs(dataset_inputs(self._study))
            self._runs[name], self._ids[name] = run, run.id
        return self._runs[name]

    def _sole(self, tags: Mapping[str, str], params: Mapping[str, str]) -> MlflowRun | None:
        """The run with these tags. Those made with other parameters, or made twice by a late answer, are deleted."""
        found = self._search(tags)
        sole = next((run for run in found if not run.contradicts(params)), None)
        for run in found:
            if run is not sole:
                self._connected().delete_run(run.id)
        return sole

    def _new_run(self, name: str, tags: Mapping[str, str], age_seconds: float) -> MlflowRun:
        client = self._connected()
        start = int((time.time() - age_seconds) * 1000)
        return MlflowRun(client, client.create_run(self._experiment, start, dict(tags), name), is_new=True)

    def _search(self, tags: Mapping[str, str]) -> list[MlflowRun]:
        client = self._connected()
        condition = " AND ".join(f"tags.`{name}` = '{text}'" for name, text in tags.items())
        page = client.search_runs([self._experiment], condition, order_by=["start_time ASC"])
        runs = list(page)
        while page.token:
            page = client.search_runs([self._experiment], condition, order_by=["start_time ASC"], page_token=page.token)
            runs += page
        return [MlflowRun(client, run) for run in runs]

    def _connected(self) -> MlflowClient:
        if self._client is None:
            if self._database:
                _require_writable(self._database)
            client = MlflowClient(self._uri, registry_uri=self._uri)
            tags = {"neuroiou.name": self._study.name}
            self._experiment = open_experiment(client, self._study.identity, self._database, tags)
            self._client = client
        return self._client


def open_experiment(client: MlflowClient, name: str, database_file: Path | None, tags: Mapping[str, str]) -> str:
    """The id of the experiment ``name``, made or restored if need be; files of a SQLite MLflow lie beside it."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        files = str(database_file.parent / "mlartifacts") if database_file else None
        return client.create_experiment(name, files, dict(tags))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return experiment.experiment_id


def _require_writable(path: Path) -> None:
    """Raise OSError or sqlite3.Error now; MLflow itself would try again for an hour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version")
    connection.close()
