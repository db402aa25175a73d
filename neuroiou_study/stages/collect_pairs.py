"""Stage 2: D, the statistics and counts of Θ_CE's output on every training image (paper section 3.1)."""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from neuroiou_study.core.counts import Reading, hinge_statistics, probability_statistics
from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.data.loading import evaluation_batches
from neuroiou_study.core.features import Inputs
from neuroiou_study.spec.trial import TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Worker
from neuroiou_study.stages.train_network import MODEL_FILE

PAIRS_FILE = "pairs.safetensors"


def collect_pairs(spec: TrialSpec, inputs: Mapping[str, Path], output: Path, worker: Worker) -> None:
    """Leave ``pairs.safetensors`` in ``output``: ``(N, C, 3)`` counts and, for each reading and the hinge, sums."""
    training = build.dataset(spec.data, "train")
    model = build.model(spec.model, training.num_classes, spec.seed).to(worker.device)
    model.load_state_dict(load_file(inputs["pretrain"] / MODEL_FILE))
    pairs = {name: worker.sum(value) for name, value in _pairs(model, training, spec, worker).items()}
    if worker.is_first:
        save_file(pairs, output / PAIRS_FILE)


def sums_name(inputs: Inputs) -> str:
    """Which tensor of ``pairs.safetensors`` an input set is made of."""
    return "hinge" if inputs.uses_hinge else inputs.reading


@torch.no_grad()
def _pairs(model: nn.Module, training: SegmentationDataset, spec: TrialSpec, worker: Worker) -> dict[str, Tensor]:
    model.eval()
    shape = (len(training), training.num_classes, 3)
    pairs = {name: torch.zeros(shape, dtype=torch.float64) for name in ("hinge", *get_args(Reading))}
    pairs["counts"] = torch.zeros(shape, dtype=torch.int64)
    batches = evaluation_batches(
        training, spec.collect_pairs.batch_size, shard=worker.shard, loader_workers=worker.loader_workers
    )
    for batch in batches:
        logits, labels = model(batch.images.to(worker.device)), batch.labels.to(worker.device)
        for name, value in _statistics(logits, labels, training.ignore_index).items():
            pairs[name][batch.indices] = value.cpu()
    return pairs


def _statistics(logits: Tensor, labels: Tensor, ignore_index: int) -> dict[str, Tensor]:
    counts, hinge = hinge_statistics(logits, labels, ignore_index=ignore_index)
    sums = {
        reading: probability_statistics(logits, labels, reading=reading, ignore_index=ignore_index).sums
        for reading in get_args(Reading)
    }
    return {"counts": counts, "hinge": hinge, **sums}
