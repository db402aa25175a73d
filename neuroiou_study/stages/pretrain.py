"""Stage 1: cross-entropy training from random or VGG-16's weights, the paper's Θ_CE."""

from collections.abc import Mapping
from pathlib import Path

from neuroiou_study.spec.trial import TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Worker
from neuroiou_study.stages.train_network import train_network


def pretrain(spec: TrialSpec, _inputs: Mapping[str, Path], output: Path, worker: Worker) -> None:
    """Leave Θ_CE and its history in ``output``."""
    training = build.dataset(spec.data, "train", cached=worker.resources.image_cache)
    model = build.model(spec.model, training.num_classes, spec.seed, pretrained=True)
    loss_fn = build.loss(spec.pretrain.loss, training)
    train_network("pretrain", spec.pretrain, spec, model, loss_fn, output, worker)
