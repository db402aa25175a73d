"""Stage 2: D, the statistics and counts of Θ_CE's output on every training image (paper section 3.1).

D may be wider than the paper's: outputs of earlier networks of the pretraining, and outputs with random errors.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from neuroiou_study.core.counts import Hinge, Reading, hinge_statistics, log_statistics, probability_statistics
from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.data.loading import Batch
from neuroiou_study.core.features import Inputs
from neuroiou_study.core.perturbing import perturbed
from neuroiou_study.spec.trial import TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Worker
from neuroiou_study.stages.files import save_tensors
from neuroiou_study.stages.train_network import MODEL_FILE, SNAPSHOTS

PAIRS_FILE = "pairs.safetensors"
Pairs = dict[str, Tensor]
"""``counts`` ``(K, N, C, 3)`` of K outputs for each of N images; as many sums for each reading and hinge, and ``log``.

Output 0 is Θ_CE's own; then come its perturbed copies and the outputs of snapshots, the latest first.
"""


def collect_pairs(spec: TrialSpec, inputs: Mapping[str, Path], output: Path, worker: Worker) -> None:
    """Leave ``pairs.safetensors`` in ``output``: :data:`Pairs` of the training images."""
    training = build.dataset(spec.data, "train", cached=worker.resources.image_cache)
    model = build.model(spec.model, training.num_classes, spec.seed).to(worker.device)
    parts: list[Pairs] = []
    for number, weights in enumerate(_networks(spec, inputs["pretrain"])):
        model.load_state_dict(load_file(weights))
        parts += pairs_of(model, training, spec, worker, spec.collect_pairs.perturbed if number == 0 else 0)
    if worker.is_first:
        save_tensors({name: torch.stack([part[name] for part in parts]) for name in parts[0]}, output / PAIRS_FILE)


def sums_name(inputs: Inputs) -> str:
    """Which tensor of ``pairs.safetensors`` an input set is made of."""
    return {"hinge": inputs.hinge, "log": "log", "probability": inputs.reading}[inputs.sums]


def pairs_of(
    model: nn.Module, dataset: SegmentationDataset, spec: TrialSpec, worker: Worker, num_copies: int = 0
) -> list[Pairs]:
    """The pairs ``(N, C, 3)`` of ``model``'s output on ``dataset``, and of ``num_copies`` perturbed ones."""
    parts = [_empty(dataset) for _ in range(1 + num_copies)]
    model.eval()
    batch_size = worker.at_once(spec.collect_pairs.batch_size)
    for batch in worker.loader(dataset).evaluation_batches(batch_size):
        labels = batch.labels.to(worker.device)
        for part, logits in zip(parts, _outputs(model, batch, spec, worker, num_copies), strict=True):
            for name, value in _statistics(logits, labels, dataset.ignore_index).items():
                part[name][batch.indices] = value.cpu()
    return [{name: worker.sum(value) for name, value in part.items()} for part in parts]


def _networks(spec: TrialSpec, pretrain: Path) -> list[Path]:
    """Θ_CE and as many snapshots as D takes, the latest first."""
    snapshots = sorted(pretrain.glob(SNAPSHOTS), reverse=True)
    return [pretrain / MODEL_FILE, *snapshots[: spec.collect_pairs.snapshots]]


def _empty(dataset: SegmentationDataset) -> Pairs:
    shape = (len(dataset), dataset.num_classes, 3)
    sums = {name: torch.zeros(shape, dtype=torch.float64) for name in ("log", *get_args(Hinge), *get_args(Reading))}
    return {"counts": torch.zeros(shape, dtype=torch.int64), **sums}


@torch.no_grad()
def _outputs(model: nn.Module, batch: Batch, spec: TrialSpec, worker: Worker, num_copies: int) -> Iterator[Tensor]:
    logits = model(batch.images.to(worker.device))
    yield logits
    for copy in range(num_copies):
        seeds = [(spec.seed, copy, index) for index in batch.indices.tolist()]
        yield perturbed(logits, spec.collect_pairs.perturbation, seeds)


def _statistics(logits: Tensor, labels: Tensor, ignore_index: int) -> Pairs:
    sums = {
        reading: probability_statistics(logits, labels, reading=reading, ignore_index=ignore_index).sums
        for reading in get_args(Reading)
    }
    hinges = {
        hinge: hinge_statistics(logits, labels, hinge=hinge, ignore_index=ignore_index) for hinge in get_args(Hinge)
    }
    counts, log = log_statistics(logits, labels, ignore_index=ignore_index)
    return {"counts": counts, "log": log, **{name: each.sums for name, each in hinges.items()}, **sums}
