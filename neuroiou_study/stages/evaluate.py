"""Stage 5: how good the fine-tuned network is, image by image and class by class."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.metrics import iou, mean_iou, pixel_accuracy
from neuroiou_study.spec.trial import TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Worker
from neuroiou_study.stages.files import write_json
from neuroiou_study.stages.train_network import MODEL_FILE, count_images

METRICS_FILE = "metrics.json"


def evaluate(spec: TrialSpec, inputs: Mapping[str, Path], output: Path, worker: Worker) -> None:
    """Leave ``metrics.json`` in ``output``: mean IoU, accuracy, IoU per class and the counts of every image."""
    dataset = build.dataset(spec.data, spec.evaluate.split, cached=worker.resources.image_cache)
    model = build.model(spec.model, dataset.num_classes, spec.seed).to(worker.device)
    model.load_state_dict(load_file(inputs["finetune"] / MODEL_FILE))
    counts = count_images(model, worker.loader(dataset), spec.evaluate.batch_size, worker)
    if worker.is_first:
        write_json(output / METRICS_FILE, _metrics(counts, dataset, spec.evaluate.split))


def read_metrics(folder: Path) -> dict[str, Any]:
    """The document of ``metrics.json`` in the complete ``folder``."""
    metrics: dict[str, Any] = json.loads((folder / METRICS_FILE).read_text())
    return metrics


def _metrics(counts: Tensor, dataset: SegmentationDataset, split: str) -> dict[str, Any]:
    """``counts_per_image`` is ``(N, C, 3)``: TP, FP, FN. A class without an IoU is null."""
    total = counts.sum(0)
    per_class = [None if value != value else value for value in iou(total).tolist()]
    return {
        "split": split,
        "background": dataset.background,
        "miou": mean_iou(total),
        "miou_without_background": mean_iou(total, without=dataset.background),
        "pixel_accuracy": pixel_accuracy(total),
        "iou_per_class": dict(zip(dataset.class_names, per_class, strict=True)),
        "counts_per_image": counts.tolist(),
    }
