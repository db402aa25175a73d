"""Four studies at once against one MLflow, one PostgreSQL and one bucket: nothing is lost, all counts are exact."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from neuroiou_study.spec import StudySpec, load_study
from neuroiou_study.stages.ledger import Ledger
from neuroiou_study.stages.open_store import open_store
from neuroiou_study.stages.records import StudyRecords, driver_lease
from tests.servers.mlflow import mlflow_server
from tests.servers.postgres import Postgres
from tests.servers.swift import Swift
from tests.studies import call, stray, write_study

NAMES = ("one", "two", "three", "four")
EPOCHS = 3


@pytest.fixture
def tracking(postgres_server: Postgres, s3: Swift, bucket: str) -> Iterator[str]:
    backend = postgres_server.database("mlflow_under_load")
    with mlflow_server(backend, f"s3://{bucket}/mlflow", s3.environment) as server:
        yield server.uri


def test_four_studies_at_once_lose_nothing(tmp_path: Path, tracking: str, bucket: str, database: str) -> None:
    store, files = f"s3://{bucket}/runs", {name: study_file(tmp_path / name, name) for name in NAMES}
    options = ("--store", store, "--tracking-uri", tracking, "--optuna-storage", database, "--backend", "local")

    def run(file: Path) -> "subprocess.CompletedProcess[str]":
        return call("run", file, *options)

    with ThreadPoolExecutor(len(NAMES)) as threads:
        done = list(threads.map(run, files.values()))
    assert [(each.returncode, stray(each.stderr)) for each in done] == [(0, [])] * len(NAMES)
    opened, client = open_store(store), MlflowClient(tracking)
    for file in files.values():
        study = load_study(file)
        assert sorted(record.assignment.name for record in StudyRecords(study, opened)) == ["ce-000", "neuroiou-000"]
        require_shown(client, study)
    assert [opened.lease_holder(driver_lease(load_study(file))) for file in files.values()] == [None] * len(NAMES)
    # All four begin with the same network: one has made it, and one was charged.
    entries = [entry for file in files.values() for entry in Ledger(load_study(file).identity, opened).entries()]
    assert [entry.outcome for entry in entries] == ["complete"] * len(entries)
    addresses = [entry.address for entry in entries]
    assert len(addresses) == len(set(addresses))
    assert sum(address.startswith("pretrain/") for address in addresses) == 1


def study_file(folder: Path, name: str) -> Path:
    folder.mkdir()
    controls, budget = {"ce": {"name": "cross_entropy"}}, {"max_trials": 1}
    seed = NAMES.index(name)
    return write_study(
        folder, name=name, controls=controls, budget=budget, finetune={"epochs": EPOCHS, "lr": 1e-3 * (1 + seed)}
    )


def require_shown(client: MlflowClient, study: StudySpec) -> None:
    """MLflow has a run for each trial and the summary, and one value for each epoch."""
    experiment = client.get_experiment_by_name(study.identity)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags.get("neuroiou.trial", "summary") for run in runs) == [
        "ce-000",
        "neuroiou-000",
        "summary",
    ]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        if "neuroiou.trial" in run.data.tags:
            history = client.get_metric_history(run.info.run_id, "finetune/select_miou")
            assert sorted(metric.step for metric in history) == list(range(1, EPOCHS + 1))
