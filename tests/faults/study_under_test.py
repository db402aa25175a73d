"""One tiny study as its user runs it, and everything that it leaves."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from neuroiou_study.spec import StudySpec, load_study
from neuroiou_study.stages.open_store import open_store
from neuroiou_study.stages.pipeline import plan
from neuroiou_study.stages.records import StudyRecords
from neuroiou_study.stages.store import Store
from tests.studies import command, write_study

# Stages long enough to be hit inside, some tenths of a second each; every trial has a surrogate of its own.
SETTINGS: dict[str, Any] = {
    "data": {"name": "shapes", "num_train": 16, "num_select": 64, "num_val": 64, "size": [16, 24]},
    "pretrain": {"epochs": 8, "lr": 3e-3},
    "collect_pairs": {"perturbed": 8},
    "fit_surrogate": {"depth": 2, "epochs": 60},
    "finetune": {"epochs": 8},
    "search": {"fit_surrogate.lr": {"float": [1e-3, 1e-2], "log": True}},
    "controls": {"ce": {"name": "cross_entropy"}},  # has one trial: nothing of it is searched
    "budget": {"max_trials": 2},
    "retry": {"crashes": 5},  # all kills may hit one trial
}


@dataclass(frozen=True)
class StudyUnderTest:
    """A study file and where it is run; ``address`` is a Ray cluster's, or None for one of the command's own."""

    folder: Path
    store_address: str
    workers: int
    address: str | None
    environment: Mapping[str, str]
    options: tuple[str, ...] = ()
    tracking_uri: str = ""

    def write(self) -> None:
        """Write its file."""
        self.folder.mkdir(parents=True)
        resources = {"workers": self.workers, "shared_workers": self.workers, "trials_at_once": 1}
        # With two workers every trial starts a group, which takes longer than the trial.
        fewer = {"controls": {}, "budget": {"max_trials": 1}} if self.workers > 1 else {}
        write_study(self.folder, **{**SETTINGS, **fewer, "name": self.folder.name, "resources": resources})

    @property
    def spec(self) -> StudySpec:
        return load_study(self.folder / "study.yaml", [])

    @property
    def store(self) -> Store:
        return open_store(self.store_address)

    @property
    def log(self) -> Path:
        """What the command printed."""
        return self.folder / "log"

    @property
    def is_behind(self) -> bool:
        """Did the command say that MLflow lacks something, and that ``sync`` writes it?"""
        return "neuroiou-study sync" in self.log.read_text()

    def sync(self) -> bool:
        """Do what it said; did it succeed?"""
        arguments = command("sync", self.folder / "study.yaml", "--store", self.store_address)
        arguments += ["--tracking-uri", self.tracking_uri] if self.tracking_uri else []
        with self.log.open("ab") as log:
            return subprocess.run(arguments, env=dict(self.environment), stdout=log, stderr=log).returncode == 0

    def start(self) -> "subprocess.Popen[bytes]":
        """Run the one command that a user runs again after anything."""
        arguments = command("run", self.folder / "study.yaml", "--store", self.store_address, *self.options)
        arguments += ["--address", self.address] if self.address else []
        arguments += ["--tracking-uri", self.tracking_uri] if self.tracking_uri else []
        with self.log.open("ab") as log:
            return subprocess.Popen(arguments, env=dict(self.environment), stdout=log, stderr=log)

    def outcome(self) -> "Outcome":
        """Everything that it left, to be compared with another's."""
        uri = self.tracking_uri or f"sqlite:///{self.folder / 'runs' / 'mlflow.db'}"
        return Outcome(trials=self.trials(), files=self.files(), shown=shown(uri, self.spec))

    def trials(self) -> dict[str, str]:
        """What :attr:`Outcome.trials` says."""
        records = StudyRecords(self.spec, self.store)
        return {record.assignment.name: _result(record.model_dump(mode="json")) for record in records}

    def files(self) -> dict[str, dict[str, str]]:
        """What :attr:`Outcome.files` says."""
        spec, store = self.spec, self.store
        trials = [trial for record in StudyRecords(spec, store) for trial in record.assignment.specs(spec)]
        addresses = {step.address for trial in trials for step in plan(trial).values()}
        return {address: _files(store, address) for address in sorted(addresses)}


@dataclass(frozen=True)
class Outcome:
    """What a study left; all of it is the same each time, bit by bit."""

    trials: dict[str, str]
    """Trial → its configuration, state, score and histories."""
    files: dict[str, dict[str, str]]
    """Stage → the SHA-256 of each of its files."""
    shown: dict[str, dict[str, list[tuple[int, float]]]] = field(repr=False)
    """MLflow run → metric → its steps and values, in order, twice what is there twice."""


def shown(uri: str, spec: StudySpec) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """What MLflow has of the study's runs; a run that is there twice gets a second name."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(spec.identity)
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for run in client.search_runs([experiment.experiment_id]) if experiment else []:
        name = str(run.info.run_name)
        found[f"{name} again" if name in found else name] = _metrics(client, run)
    return found


def _metrics(client: MlflowClient, run: Any) -> dict[str, list[tuple[int, float]]]:
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    # What a clock measured differs, and so does how often something was begun.
    return {
        name: sorted((metric.step, metric.value) for metric in history)
        for name, history in histories.items()
        if not name.endswith(("seconds", "hours")) and not name.startswith("study/cost_")
    }


def _result(record: dict[str, Any]) -> str:
    kept = {name: record[name] for name in ("assignment", "state", "score", "runs")}
    return json.dumps(kept, sort_keys=True)


def _files(store: Store, address: str) -> dict[str, str]:
    manifest = store.manifest(address)
    return {} if manifest is None else {name: entry.sha256 for name, entry in manifest.files.items()}
