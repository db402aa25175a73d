"""The best surrogate of a study in MLflow's registry, as the study's name with the alias ``champion``.

Usage, anywhere::

    net = mlflow.pytorch.load_model("models:/<study>@champion")     # features (M, F) -> IoU losses (M,)

Saved as an exported graph (pt2), so that loading it runs no code of ours and unpickles nothing. The loss itself lies
beside it, in ``extra_files/``, for ``NeuroIoULoss.load``.
"""

import contextlib
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from neuroiou_study.core.surrogate import CONFIG_FILE, Surrogate
from neuroiou_study.orchestrate.descriptions import model_card
from neuroiou_study.report.export import champion_of, export_loss
from neuroiou_study.report.leaderboard import Leaderboard
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.records import TrialRecord
from neuroiou_study.stages.store import Store

ALIAS = "champion"
ADDRESS_TAG = "neuroiou.surrogate"
DESCRIPTION = "Learned IoU losses of one study: the best is `champion`; each version has its card."


def register_champion(
    client: MlflowClient,
    experiment: str,
    run_id: str,
    study: StudySpec,
    store: Store,
    records: Sequence[TrialRecord],
    board: Leaderboard,
) -> ModelVersion | None:
    """The version of the best complete surrogate trial, made if need be, and the alias on it; None without one."""
    best = champion_of(study, records, board)
    if best is None:
        return None
    tags = _tags(best)
    version = _registered(client, study.name, tags[ADDRESS_TAG])
    if version is None:
        with tempfile.TemporaryDirectory() as folder:
            export_loss(study, store, records, Path(folder, "loss"), board)
            model = _log_model(client, experiment, run_id, Path(folder))
        card = model_card(study, store, board, best, tags[ADDRESS_TAG])
        version = _new_version(client, study.name, run_id, model, tags, card)
    _label(client, version, tags)
    return version


def _tags(best: TrialRecord) -> dict[str, str]:
    """Where the champion is from: of several seeds, the one whose network ended best."""
    run = max(best.runs, key=lambda run: run.history[-1]["select_miou"])
    return {
        ADDRESS_TAG: run.stages["fit_surrogate"],
        "neuroiou.trial": best.assignment.name,
        "neuroiou.score": repr(best.score),
    }


def _registered(client: MlflowClient, name: str, address: str) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{name}' AND tags.`{ADDRESS_TAG}` = '{address}'", max_results=1)
    return found[0] if found else None


def _log_model(client: MlflowClient, experiment: str, run_id: str, folder: Path) -> LoggedModel:
    """A model of the run, made from the loss in ``folder``.

    ``mlflow.pytorch.log_model`` would take its server and its experiment from ambient state.
    """
    logged = client.create_logged_model(experiment, name="surrogate", source_run_id=run_id)
    _save_model(
        folder / "loss",
        folder / "model",
        Model(
            run_id=run_id, model_uuid=logged.model_id, model_id=logged.model_id, artifact_path=logged.artifact_location
        ),
    )
    client.log_model_artifacts(logged.model_id, str(folder / "model"))
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return logged


def _save_model(loss: Path, path: Path, description: Model) -> None:
    with _root_logger_kept(), _lightning_left_out():
        import mlflow.pytorch
    net = Surrogate.load(loss).net.eval()
    # Four rows and not one: the exporter would take a size of one for a constant.
    rows = net.mean + net.std * torch.linspace(-1, 1, 4).unsqueeze(-1)
    mlflow.pytorch.save_model(
        net,
        path,
        mlflow_model=description,
        signature=ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, rows.shape[1]))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1,))]),
        ),
        input_example=rows.numpy(),
        pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", f"numpy=={np.__version__}"],
        extra_files=[str(file) for file in sorted(loss.iterdir())],
        metadata={"surrogate": json.loads((loss / CONFIG_FILE).read_text())},
        serialization_format="pt2",
    )


@contextlib.contextmanager
def _root_logger_kept() -> Iterator[None]:
    """For the import of ``mlflow.pytorch``, which makes the program's root logger show errors only."""
    level, handlers = logging.root.level, logging.root.handlers[:]
    try:
        yield
    finally:
        logging.root.setLevel(level)
        for handler in set(logging.root.handlers) - set(handlers):
            logging.root.removeHandler(handler)


@contextlib.contextmanager
def _lightning_left_out() -> Iterator[None]:
    """For the same import, which else takes six seconds (measured) where Lightning is installed, for nothing here.

    What is None among the modules cannot be imported, and MLflow does without it.
    """
    name = "mlflow.pytorch._lightning_autolog"
    modules: dict[str, Any] = sys.modules
    is_here = name in modules
    modules.setdefault(name, None)
    try:
        yield
    finally:
        if not is_here:
            del modules[name]


def _new_version(
    client: MlflowClient, name: str, run_id: str, model: LoggedModel, tags: dict[str, str], card: str
) -> ModelVersion:
    with contextlib.suppress(MlflowException):  # it is there; if that is not why, the next call says so
        client.create_registered_model(name, description=DESCRIPTION)
    return client.create_model_version(
        name,
        model.artifact_location,  # models:/<id> would be looked up in the ambient server
        run_id=run_id,
        tags=tags,
        description=card,
        await_creation_for=0,
        model_id=model.model_id,
    )


def _label(client: MlflowClient, version: ModelVersion, tags: dict[str, str]) -> None:
    """The same surrogate may win again in another trial, or after another one had won."""
    for name, value in tags.items():
        if version.tags.get(name) != value:
            client.set_model_version_tag(version.name, version.version, name, value)
    client.set_registered_model_alias(version.name, ALIAS, version.version)
