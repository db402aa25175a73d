"""Stage 4: Θ_CE trained on with the trial's loss (paper Algorithm 1)."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from neuroiou_study.core.counts import Statistics
from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.features import Inputs
from neuroiou_study.core.fidelity import fidelity
from neuroiou_study.core.fitting import make_rows
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.spec.trial import TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Worker
from neuroiou_study.stages.files import write_json
from neuroiou_study.stages.fit_surrogate import FIDELITY_FILE
from neuroiou_study.stages.train_network import MODEL_FILE, selection_batch_size, train_network


def finetune(spec: TrialSpec, inputs: Mapping[str, Path], output: Path, worker: Worker) -> None:
    """Leave the fine-tuned network and its history in ``output``; of a learned loss also its fidelity by then."""
    training = build.dataset(spec.data, "train", cached=worker.resources.image_cache)
    random = spec.finetune.start == "random"
    model = build.model(spec.model, training.num_classes, spec.seed, pretrained=random)
    if not random:
        model.load_state_dict(load_file(inputs["pretrain"] / MODEL_FILE))
    loss_fn = build.loss(spec.finetune.loss, training, inputs.get("fit_surrogate"))
    train_network("finetune", spec.finetune, spec, model, loss_fn, output, worker)
    if "fit_surrogate" in inputs:
        _measure_on_policy(spec, model, NeuroIoULoss.load(inputs["fit_surrogate"]), output, worker)


def _measure_on_policy(spec: TrialSpec, model: nn.Module, loss: NeuroIoULoss, output: Path, worker: Worker) -> None:
    """Leave ``fidelity.json``: how the surrogate does on ``select``, where its own gradient has led the network."""
    dataset = build.dataset(spec.data, "select", cached=worker.resources.image_cache)
    inputs = loss.surrogate.config.inputs
    batch_size = selection_batch_size(spec, spec.finetune)
    statistics = _statistics(model, dataset, batch_size, inputs, worker)
    if worker.is_first:
        rows = make_rows(*statistics, generator=torch.Generator())
        write_json(output / FIDELITY_FILE, fidelity(loss.surrogate.cpu(), rows))


@torch.no_grad()
def _statistics(
    model: nn.Module, dataset: SegmentationDataset, batch_size: int, inputs: Inputs, worker: Worker
) -> Statistics:
    """Counts and sums ``(N, C, 3)`` of ``model``'s output on ``dataset``."""
    model.eval()
    counts = torch.zeros((len(dataset), dataset.num_classes, 3), dtype=torch.int64)
    sums: Tensor = torch.zeros(counts.shape, dtype=torch.float64)
    for batch in worker.loader(dataset).evaluation_batches(worker.at_once(batch_size)):
        logits, labels = model(batch.images.to(worker.device)), batch.labels.to(worker.device)
        found = inputs.statistics(logits, labels, dataset.ignore_index)
        counts[batch.indices], sums[batch.indices] = found.counts.cpu(), found.sums.cpu()
    return Statistics(worker.sum(counts), worker.sum(sums))
