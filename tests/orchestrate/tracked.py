"""For the tests of tracking: a tiny study that has really run, and everything that MLflow shows of it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from neuroiou_study.orchestrate.tracking import Tracker
from neuroiou_study.spec import Scalar, StudySpec
from neuroiou_study.stages.backend import LocalWorker, Progress
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.made_with import note_made_with
from neuroiou_study.stages.news import Begun, Ended, Epoch, News
from neuroiou_study.stages.records import Assignment, StudyRecords, TrialRecord
from neuroiou_study.stages.trial import run_shared_stages, run_trial
from neuroiou_study.stages.val import run_finals

SURROGATE, PRUNED, FAILED, CONTROL = "neuroiou-000", "neuroiou-001", "neuroiou-002", "ce-000"
SURROGATE_FILES = ("surrogate.safetensors", "surrogate.json", "loss.json", "fidelity.json")
TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "shapes", "num_train": 8, "num_select": 4, "num_val": 4, "size": [16, 16]},
    "model": {"name": "unet", "width": 4, "levels": 1},
    "pretrain": {"epochs": 2},
    "fit_surrogate": {"epochs": 5},
    "gate": {"enabled": False},
    "finetune": {"epochs": 2},
    "search": {"fit_surrogate.depth": {"int": [1, 4]}, "finetune.lr": {"float": [1e-4, 1e-2], "log": True}},
    "controls": {"ce": {"name": "cross_entropy"}},
}


def tiny_study(**changes: Any) -> StudySpec:
    return StudySpec.model_validate({**TINY, **changes})


@dataclass
class Played:
    """A study that has run: what its driver heard, and what is in its store."""

    study: StudySpec
    store: FolderStore
    news: list[News]
    records: list[TrialRecord]

    def record(self, name: str) -> TrialRecord:
        return next(record for record in self.records if record.assignment.name == name)

    def epoch(self, name: str) -> Epoch:
        """The first epoch of a trial's fine-tuning."""
        epochs = (item for item in self.news if isinstance(item, Epoch) and item.assignment is not None)
        return next(item for item in epochs if item.assignment == self.record(name).assignment)

    def folder(self, record: TrialRecord, stage: str) -> Path:
        folder = self.store.find(record.runs[0].stages[stage])
        assert folder is not None
        return folder

    def document(self, record: TrialRecord, stage: str, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder(record, stage) / name).read_text())
        return document


def play(study: StudySpec, folder: Path) -> Played:
    """Run ``study``: a complete surrogate trial, a pruned one, one that fails in its first epoch, and a control."""
    torch.set_num_threads(1)  # networks this small are slower with more, by far where cores are shared
    store, news = FolderStore(folder / "store"), list[News]()
    note_made_with(study, store)

    def listen(progress: Progress) -> bool:
        news.append(Epoch(None, progress))
        return False

    run_shared_stages(study, study.seeds, store, LocalWorker(listener=listen))
    for arm, number, depth, end in (
        ("neuroiou", 0, 2, None),
        ("neuroiou", 1, 1, "pruned"),
        ("neuroiou", 2, 1, "failed"),
        ("ce", 0, None, None),
    ):
        values: dict[str, Scalar] = {"finetune.lr": 1e-3 * (1 + number)}
        values |= {} if depth is None else {"fit_surrogate.depth": depth}
        news += _run(study, Assignment(arm=arm, number=number, values=values), store, end)
    run_finals(study, store, LocalWorker())
    return Played(study, store, news, list(StudyRecords(study, store)))


def _run(study: StudySpec, assignment: Assignment, store: FolderStore, end: str | None) -> Iterator[News]:
    news: list[News] = [Begun(assignment)]

    def listen(progress: Progress) -> bool:
        news.append(Epoch(assignment, progress))
        if end == "failed":
            raise RuntimeError("the disc is full")
        return end == "pruned" and progress.epoch == 1

    run_trial(study, assignment, store, LocalWorker(listener=listen))
    record = StudyRecords(study, store).find(assignment)
    assert record is not None
    return iter([*news, Ended(record)])


def tell(played: Played, tracker: Tracker, *, conclude: bool = True) -> None:
    """Tell ``tracker`` the whole study, as its driver does."""
    for item in played.news:
        match item:
            case Begun(assignment):
                tracker.begin(assignment)
            case Epoch(assignment, progress):
                tracker.progress(assignment, progress)
            case Ended(record):
                tracker.finish(record)
    if conclude:
        tracker.conclude(played.records)


@dataclass(frozen=True)
class ShownRun:
    """All that MLflow has of a run."""

    id: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, list[tuple[int, float]]]
    latest: dict[str, float]
    files: dict[str, Path]


@dataclass(frozen=True)
class Shown:
    """All that MLflow has of a study."""

    experiment: str
    runs: dict[str, ShownRun]
    champion: str | None
    versions: list[ModelVersion] = field(compare=False)

    def without_ids(self) -> dict[str, Any]:
        """What two databases with the same study have in common."""
        runs = {
            name: replace(
                run,
                id="",
                tags=self._without_links(run.tags),
                files={re.sub(r"\+timestamp\+\d+\+[0-9a-f-]+", "", file): Path() for file in run.files},
            )
            for name, run in self.runs.items()
        }
        return {"runs": runs, "versions": [version.tags for version in self.versions], "champion": self.champion}

    def _without_links(self, tags: dict[str, str]) -> dict[str, str]:
        link = f"#/experiments/{self.experiment}/runs/{self.runs['summary'].id}"
        return {name: text.replace(link, "#") for name, text in tags.items()}


def shown(played: Played, uri: str) -> Shown:
    """Everything that MLflow shows of the study; no two runs may have one name."""
    client = MlflowClient(uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(played.study.identity)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    names = [str(run.info.run_name) for run in runs]
    assert len(set(names)) == len(names), names
    return Shown(
        experiment=experiment.experiment_id,
        runs={name: _shown_run(client, uri, run) for name, run in zip(names, runs, strict=True)},
        champion=_champion(client, played.study.name),
        versions=list(client.search_model_versions(f"name = '{played.study.name}'")),
    )


def shown_after_telling(played: Played, uri: str) -> Shown:
    """What MLflow shows after the study was told to it from beginning to end."""
    tell(played, Tracker(played.study, played.store, uri))
    return shown(played, uri)


def _shown_run(client: MlflowClient, uri: str, run: Any) -> ShownRun:
    metrics = {}
    for name in run.data.metrics:
        history = client.get_metric_history(run.info.run_id, name)
        metrics[name] = sorted((metric.step, metric.value) for metric in history)
    files = {name: Path(run.info.artifact_uri, name) for name in _files(client, run.info.run_id, None)}
    info, data = run.info, run.data
    return ShownRun(info.run_id, info.status, data.params, data.tags, metrics, data.metrics, files)


def _files(client: MlflowClient, run_id: str, folder: str | None) -> list[str]:
    found = client.list_artifacts(run_id, folder)
    inner = [name for each in found if each.is_dir for name in _files(client, run_id, each.path)]
    return [each.path for each in found if not each.is_dir] + inner


def _champion(client: MlflowClient, name: str) -> str | None:
    try:
        version = str(client.get_model_version_by_alias(name, "champion").version)
    except MlflowException:
        return None
    return version
