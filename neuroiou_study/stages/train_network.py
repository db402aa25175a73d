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
CHECKPOINT_FILE = ".checkpoint.pt"
"""Hidden: the store keeps it for a resumption and removes it when the stage is complete."""

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
    training, select = build.dataset(spec.data, "train"), build.dataset(spec.data, "select")
    loss_fn.to(worker.device).sum_over_workers = worker.sum
    network = worker.prepare_model(model)
    optimizer = build.optimizer(settings.optimizer, network, settings.lr)
    history = _resume(output / CHECKPOINT_FILE, model, optimizer, worker)

    def report(row: Row) -> None:
        metrics = {name: value for name, value in row.items() if name != "epoch"}
        worker.report(Progress(stage, spec.seed, int(row["epoch"]), settings.epochs, metrics))

    for row in history:
        report(row)
    for epoch in range(len(history) + 1, settings.epochs + 1):
        batches = _batches(training, settings, spec.seed, epoch, worker)
        loss = train_epoch(network, batches, loss_fn, optimizer, worker.device)
        score = mean_iou(count_images(model, select, settings.batch_size, worker).sum(0))
        history.append({"epoch": epoch, "loss": loss, "select_miou": score})
        if worker.is_first:
            _save_checkpoint(output, model, optimizer, history)
        report(history[-1])
    if worker.is_first:
        # Again: a maker that was killed between checkpoint and history had its last row in the checkpoint only.
        _write_history(output, history)
        save_file(model.state_dict(), output / MODEL_FILE)


def _batches(
    training: SegmentationDataset, settings: TrainingSpec, seed: int, epoch: int, worker: Worker
) -> Iterator[Batch]:
    return training_batches(
        training,
        settings.batch_size,
        seed=seed,
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


def _resume(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, worker: Worker) -> list[Row]:
    history: list[Row] = []
    if path.is_file():
        checkpoint: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        history = checkpoint["history"]
    # Also keeps the first worker from finishing, and removing the checkpoint, before the others have read it.
    if worker.sum(torch.tensor(len(history))) != worker.shard.world_size * len(history):
        raise RuntimeError(f"{path}: seen by some workers only: all nodes must share one store: check its mounts")
    return history


def _save_checkpoint(output: Path, model: nn.Module, optimizer: torch.optim.Optimizer, history: list[Row]) -> None:
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "history": history}
    temporary = output / f".new{CHECKPOINT_FILE}"
    torch.save(checkpoint, temporary)
    temporary.replace(output / CHECKPOINT_FILE)
    _write_history(output, history)


def _write_history(output: Path, history: list[Row]) -> None:
    temporary = output / f".{HISTORY_FILE}"
    temporary.write_text("".join(json.dumps(row) + "\n" for row in history))
    temporary.replace(output / HISTORY_FILE)
