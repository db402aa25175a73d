"""Training of a network for some epochs, resumable: what pretrain and finetune have in common."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.data.loading import Batch, evaluation_batches, training_batches
from neuroiou_study.core.metrics import mean_iou
from neuroiou_study.core.reduction import SegmentationLoss
from neuroiou_study.core.training import evaluate_counts, train_epoch
from neuroiou_study.spec.trial import TrainingSpec, TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Progress, Worker

MODEL_FILE = "model.safetensors"
HISTORY_FILE = "history.jsonl"
CHECKPOINT_FILE = "checkpoint.pt"

Row = dict[str, float]


def train_network(
    stage: str,
    settings: TrainingSpec,
    spec: TrialSpec,
    model: nn.Module,
    loss_fn: SegmentationLoss,
    output: Path,
    worker: Worker,
) -> None:
    """Train ``model`` and leave ``model.safetensors`` and ``history.jsonl`` in ``output``.

    ``history.jsonl`` has a row an epoch: ``epoch`` from 1, ``loss`` (mean of the steps), ``select_miou``. A checkpoint
    found in ``output`` is continued, with its history reported again. Raises Pruned if the worker's listener asks.
    """
    loss_fn.to(worker.device).sum_over_workers = worker.sum
    network = worker.prepare_model(model)
    optimizer = build.optimizer(settings.optimizer, network, settings.lr)
    history = _resume(output / CHECKPOINT_FILE, model, optimizer)
    for row in history:
        worker.report(_progress(stage, spec, settings, row))
    for epoch in range(len(history) + 1, settings.epochs + 1):
        loss = train_epoch(network, _batches(settings, spec, epoch, worker), loss_fn, optimizer, worker.device)
        score = mean_iou(count_images(model, build.dataset(spec.data, "select"), settings.batch_size, worker).sum(0))
        history.append({"epoch": epoch, "loss": loss, "select_miou": score})
        if worker.is_first:
            _save_checkpoint(output, model, optimizer, history)
        worker.report(_progress(stage, spec, settings, history[-1]))
    if worker.is_first:
        save_file(model.state_dict(), output / MODEL_FILE)
        (output / CHECKPOINT_FILE).unlink()


def _batches(settings: TrainingSpec, spec: TrialSpec, epoch: int, worker: Worker) -> Iterator[Batch]:
    return training_batches(
        build.dataset(spec.data, "train"),
        settings.batch_size,
        seed=spec.seed,
        epoch=epoch,
        shard=worker.shard,
        loader_workers=worker.loader_workers,
    )


def count_images(model: nn.Module, dataset: SegmentationDataset, batch_size: int, worker: Worker) -> Tensor:
    """``(N, C, 3)`` counts of all N images of ``dataset``, each evaluated by one worker of the group."""
    batches = evaluation_batches(dataset, batch_size, shard=worker.shard, loader_workers=worker.loader_workers)
    counts = evaluate_counts(
        model,
        batches,
        num_images=len(dataset),
        num_classes=dataset.num_classes,
        ignore_index=dataset.ignore_index,
        device=worker.device,
    )
    return worker.sum(counts)


def read_history(folder: Path) -> list[Row]:
    """The rows of ``history.jsonl`` in ``folder``, complete or still being made; none if it is not there."""
    path = folder / HISTORY_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _progress(stage: str, spec: TrialSpec, settings: TrainingSpec, row: Row) -> Progress:
    metrics = {name: value for name, value in row.items() if name != "epoch"}
    return Progress(stage, spec.seed, int(row["epoch"]), settings.epochs, metrics)


def _resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Row]:
    if not path.is_file():
        return []
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    history: list[Row] = checkpoint["history"]
    return history


def _save_checkpoint(output: Path, model: nn.Module, optimizer: torch.optim.Optimizer, history: list[Row]) -> None:
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
    temporary = output / f".{CHECKPOINT_FILE}"
    torch.save(checkpoint, temporary)
    temporary.replace(output / CHECKPOINT_FILE)
    (output / HISTORY_FILE).write_text("".join(json.dumps(row) + "\n" for row in history))
