"""Training of a network for some epochs, resumable: what pretrain and finetune have in common."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from neuroiou_study.core.data.dataset import Split
from neuroiou_study.core.data.loading import Loader
from neuroiou_study.core.metrics import mean_iou
from neuroiou_study.core.random_state import random_state, restore_random_state
from neuroiou_study.core.reduction import SegmentationLoss
from neuroiou_study.core.training import evaluate_counts, train_epoch
from neuroiou_study.spec.training import PretrainSpec, TrainingSpec
from neuroiou_study.spec.trial import TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Leaving, Progress, Worker
from neuroiou_study.stages.checkpoint import load_checkpoint, save_checkpoint
from neuroiou_study.stages.epoch_examples import example_epochs, write_examples
from neuroiou_study.stages.files import save_tensors, write_whole

MODEL_FILE = "model.safetensors"
HISTORY_FILE = "history.jsonl"
SNAPSHOTS = "snapshot-*.safetensors"

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
    that rank 0 finds in ``output`` is continued, with its history reported again. Raises Pruned if the worker's
    listener asks, and Leaving, with a checkpoint of the last step, if a machine of the group must go.
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
        batches = training.training_batches(
            settings.batch_size, seed=spec.seed, epoch=epoch, augment=augment, start=len(run.losses)
        )
        run.restore_random_numbers()  # after the loader, which takes one for each pass
        loss = train_epoch(
            *(network, batches, loss_fn, optimizer, worker.device, schedule, settings.precision),
            micro_batches=worker.resources.micro_batches,
            losses=run.losses,
            after_step=run.end_step,
        )
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
    losses: list[float] = field(default_factory=list)
    """Of the steps of the epoch that has begun: as many as there were."""
    random: Tensor | None = None
    """``(workers, bytes)``: where the random numbers of an epoch were when it was left."""

    def resume(self) -> None:
        """Continue what an interrupted maker left, if there is anything, and report its epochs again."""
        # Read where the folder is; the others may run on machines without it.
        checkpoint = self.worker.from_first(lambda: load_checkpoint(self.output))
        if checkpoint is not None:
            for name, part in self._state().items():
                part.load_state_dict(checkpoint[name])
            self.history, self.losses, self.random = (checkpoint[name] for name in ("history", "losses", "random"))
        for row in self.history:
            self._report(row)

    def restore_random_numbers(self) -> None:
        """Draw on from where an epoch was left in its midst; a worker that was not there draws from the beginning."""
        rank = self.worker.shard.rank
        if self.random is not None and rank < len(self.random):
            restore_random_state(self.random[rank], self.worker.device)
        self.random = None

    def end_step(self) -> None:
        """Leave, in every worker and with a checkpoint, if a machine of the group must."""
        if self.worker.must_leave():
            random = self._random_of_all()
            # The others wait: a group ends as soon as one of its workers does.
            self.worker.from_first(lambda: self._save(random))
            raise Leaving(f"{self.stage}: epoch {len(self.history) + 1}, after step {len(self.losses)}")

    def end_epoch(self, epoch: int, loss: float) -> None:
        """Measure the network on ``select``, keep everything, report."""
        self.worker.agree_on_buffers(self.model)
        batch_size = selection_batch_size(self.spec, self.settings)
        score = mean_iou(count_images(self.model, self.select, batch_size, self.worker).sum(0))
        self.history.append({"epoch": epoch, "loss": loss, "select_miou": score})
        self.losses = []
        if self.worker.is_first:
            if self.stage == "finetune" and epoch in example_epochs(self.settings.epochs):
                write_examples(self.model, self.select.dataset, epoch, self.output, self.worker.device)
            if epoch in snapshot_epochs(self.settings):
                save_tensors(_weights(self.model), self.output / SNAPSHOTS.replace("*", f"{epoch:06d}"))
            self._save()
        self._report(self.history[-1])

    def finish(self) -> None:
        """Leave the network and its history."""
        if self.worker.is_first:
            # Again: a maker that was killed between checkpoint and history had its last row in the checkpoint only.
            _write_history(self.output, self.history)
            save_tensors(_weights(self.model), self.output / MODEL_FILE)

    def _report(self, row: Row) -> None:
        metrics = {name: value for name, value in row.items() if name != "epoch"}
        self.worker.report(Progress(self.stage, self.spec.seed, int(row["epoch"]), self.settings.epochs, metrics))

    def _state(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}

    def _random_of_all(self) -> Tensor:
        mine = random_state(self.worker.device)
        states = torch.zeros(self.worker.shard.world_size, len(mine), dtype=mine.dtype)
        states[self.worker.shard.rank] = mine
        return self.worker.sum(states)

    def _save(self, random: Tensor | None = None) -> None:
        """Write a checkpoint, with ``random`` numbers if in the midst of an epoch, and see that it is kept."""
        states = {name: part.state_dict() for name, part in self._state().items()}
        position = {"history": self.history, "losses": self.losses, "random": random}
        save_checkpoint(self.output, {**states, **position})
        _write_history(self.output, self.history)
        self.worker.keep()


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
        images.evaluation_batches(worker.at_once(batch_size)),
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


def _write_history(output: Path, history: list[Row]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in history)
    write_whole(output / HISTORY_FILE, lambda temporary: temporary.write_text(text))
