"""Training of a network for some epochs, resumable: what pretrain and finetune have in common."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from neuroiou_study.core.data.dataset import Split
from neuroiou_study.core.data.loading import Loader
from neuroiou_study.core.metrics import mean_iou
from neuroiou_study.core.reduction import SegmentationLoss
from neuroiou_study.core.training import evaluate_counts, train_epoch
from neuroiou_study.spec.training import PretrainSpec, TrainingSpec
from neuroiou_study.spec.trial import TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Progress, Worker

MODEL_FILE = "model.safetensors"
HISTORY_FILE = "history.jsonl"
SNAPSHOTS = "snapshot-*.safetensors"
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
    training, select = (_loader(split, spec, worker) for split in ("train", "select"))
    loss_fn.to(worker.device).sum_over_workers = worker.sum
    loss_fn.reduction, loss_fn.kernel = settings.reduction, worker.resources.kernel
    network = worker.prepare_model(model)
    optimizer = build.optimizer(settings.optimizer, network, settings.lr)
    schedule = build.schedule(
        settings.schedule, optimizer, settings.epochs * (len(training.dataset) // settings.batch_size)
    )
    run = _Run(stage, settings, spec, worker, output, select, model, optimizer, schedule)
    run.resume()
    augment = build.augment(spec.data.augment)
    for epoch in range(len(run.history) + 1, settings.epochs + 1):
        torch.manual_seed(_dropout_seed(spec.seed, epoch, worker))
        batches = training.training_batches(settings.batch_size, seed=spec.seed, epoch=epoch, augment=augment)
        loss = train_epoch(network, batches, loss_fn, optimizer, worker.device, schedule, settings.precision)
        run.end_epoch(epoch, loss)
    run.finish()


@dataclass
class _Run:
    """One training with what it leaves in the store."""

    stage: str
    settings: TrainingSpec
    spec: TrialSpec
    worker: Worker
    output: Path
    select: Loader
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    history: list[Row] = field(default_factory=list)

    def resume(self) -> None:
        """Continue what an interrupted maker left, if there is anything, and report its epochs again."""
        path = self.output / CHECKPOINT_FILE
        if path.is_file():
            checkpoint: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
            for name, part in self._state().items():
                part.load_state_dict(checkpoint[name])
            self.history = checkpoint["history"]
        # Also keeps the first worker from finishing, and removing the checkpoint, before the others have read it.
        if self.worker.sum(torch.tensor(len(self.history))) != self.worker.shard.world_size * len(self.history):
            raise RuntimeError(f"{path}: seen by some workers only: all nodes must share one store: check its mounts")
        for row in self.history:
            self._report(row)

    def end_epoch(self, epoch: int, loss: float) -> None:
        """Measure the network on ``select``, keep everything, report."""
        self.worker.agree_on_buffers(self.model)
        batch_size = selection_batch_size(self.spec, self.settings)
        score = mean_iou(count_images(self.model, self.select, batch_size, self.worker).sum(0))
        self.history.append({"epoch": epoch, "loss": loss, "select_miou": score})
        if self.worker.is_first:
            if epoch in snapshot_epochs(self.settings):
                _save_atomically(self.model, self.output / SNAPSHOTS.replace("*", f"{epoch:06d}"))
            self._save_checkpoint()
        self._report(self.history[-1])

    def finish(self) -> None:
        """Leave the network and its history."""
        if self.worker.is_first:
            # Again: a maker that was killed between checkpoint and history had its last row in the checkpoint only.
            _write_history(self.output, self.history)
            save_file(_weights(self.model), self.output / MODEL_FILE)

    def _report(self, row: Row) -> None:
        metrics = {name: value for name, value in row.items() if name != "epoch"}
        self.worker.report(Progress(self.stage, self.spec.seed, int(row["epoch"]), self.settings.epochs, metrics))

    def _state(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}

    def _save_checkpoint(self) -> None:
        states = {name: part.state_dict() for name, part in self._state().items()}
        temporary = self.output / f".new{CHECKPOINT_FILE}"
        torch.save({**states, "history": self.history}, temporary)
        temporary.replace(self.output / CHECKPOINT_FILE)
        _write_history(self.output, self.history)


def snapshot_epochs(settings: TrainingSpec) -> set[int]:
    """The epochs after which the network is kept, evenly spaced and without the last."""
    number = settings.snapshots if isinstance(settings, PretrainSpec) else 0
    return {max(1, settings.epochs * each // (number + 1)) for each in range(1, number + 1)}


def selection_batch_size(spec: TrialSpec, settings: TrainingSpec) -> int:
    """Images at a time on ``select``: one where training crops images of many sizes to one."""
    return 1 if spec.data.augment.crop and spec.data.size is None else settings.batch_size


def _dropout_seed(seed: int, epoch: int, worker: Worker) -> int:
    """Of an epoch, so that a resumed training draws what an uninterrupted one would."""
    return (seed * 1_000_003 + epoch) * 10_007 + worker.shard.rank


def _loader(split: Split, spec: TrialSpec, worker: Worker) -> Loader:
    return worker.loader(build.dataset(spec.data, split, cached=worker.resources.image_cache))


def count_images(model: nn.Module, images: Loader, batch_size: int, worker: Worker) -> Tensor:
    """``(N, C, 3)`` counts of all N images of a split, each evaluated by one worker of the group."""
    dataset = images.dataset
    counts = evaluate_counts(
        model,
        images.evaluation_batches(batch_size),
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


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of ``model`` in the common layout, the only one that can be saved."""
    return {name: value.contiguous() for name, value in model.state_dict().items()}


def _save_atomically(model: nn.Module, path: Path) -> None:
    temporary = path.with_name(f".{path.name}")
    save_file(_weights(model), temporary)
    temporary.replace(path)


def _write_history(output: Path, history: list[Row]) -> None:
    temporary = output / f".{HISTORY_FILE}"
    temporary.write_text("".join(json.dumps(row) + "\n" for row in history))
    temporary.replace(output / HISTORY_FILE)
