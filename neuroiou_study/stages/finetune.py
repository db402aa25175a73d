"""Stage 4: Θ_CE trained on with the trial's loss (paper Algorithm 1)."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file

from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.reduction import SegmentationLoss
from neuroiou_study.spec.trial import NeuroIoUSpec, TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Worker
from neuroiou_study.stages.train_network import MODEL_FILE, train_network


def finetune(spec: TrialSpec, inputs: Mapping[str, Path], output: Path, worker: Worker) -> None:
    """Leave the fine-tuned network and its history in ``output``."""
    training = build.dataset(spec.data, "train")
    model = build.model(spec.model, training.num_classes, spec.seed)
    model.load_state_dict(load_file(inputs["pretrain"] / MODEL_FILE))
    train_network("finetune", spec.finetune, spec, model, _loss(spec, inputs, training), output, worker)


def _loss(spec: TrialSpec, inputs: Mapping[str, Path], training: SegmentationDataset) -> SegmentationLoss:
    if isinstance(spec.finetune.loss, NeuroIoUSpec):
        return NeuroIoULoss.load(inputs["fit_surrogate"])
    return build.loss(spec.finetune.loss, training)
