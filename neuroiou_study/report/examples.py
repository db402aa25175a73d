"""Images of ``val`` that are worth a look, chosen by rule and not by eye, and what two arms make of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from neuroiou_study.core.data.dataset import Sample, SegmentationDataset
from neuroiou_study.core.data.transforms import to_tensors
from neuroiou_study.report.val_scores import val_runs
from neuroiou_study.spec import StudySpec, TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.evaluate import read_metrics
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.train_network import MODEL_FILE
from neuroiou_study.stages.trial import result_folder

BEST, SECOND, TYPICAL, WORST = "best for the learned loss", "second best", "median", "worst (failure)"


@dataclass(frozen=True)
class Example:
    """An image of ``val``, why it was chosen, and what each arm makes of it."""

    reason: str
    sample: Sample
    predictions: Mapping[str, NDArray[np.uint8]]
    """Arm → ``(H, W)`` classes."""
    ious: Mapping[str, float]
    """Arm → mean IoU over the classes of the image, in percent."""


def make_examples(
    study: StudySpec, store: Store, dataset: SegmentationDataset, control: str, arm: str
) -> list[Example]:
    """The images where ``arm`` gains most over ``control``, a typical one, and the one where it loses most.

    Raises RuntimeError if one of the two has no complete trial, and FileNotFoundError if ``dataset`` is not here.
    """
    runs = {each: _first_run(study, store, each) for each in (control, arm)}
    ious = {each: _image_ious(folder) for each, (_, folder) in runs.items()}
    networks = {each: _network(spec, dataset, store) for each, (spec, _) in runs.items()}
    chosen = choose(ious[arm] - ious[control])
    return [_example(reason, index, dataset, networks, ious) for reason, index in chosen.items()]


def choose(gains: NDArray[np.float64]) -> dict[str, int]:
    """Reason → index of an image ``(N,)``, each image once; fewer than four reasons where there are fewer images."""
    order = [int(index) for index in np.argsort(-np.nan_to_num(gains), kind="stable")]
    wanted = {BEST: order[0], WORST: order[-1], TYPICAL: order[len(order) // 2], SECOND: order[min(1, len(order) - 1)]}
    chosen: dict[str, int] = {}
    for reason, index in wanted.items():
        if index not in chosen.values():
            chosen[reason] = index
    return {reason: chosen[reason] for reason in (BEST, SECOND, TYPICAL, WORST) if reason in chosen}


def _first_run(study: StudySpec, store: Store, arm: str) -> tuple[TrialSpec, Path]:
    """The trial of the first seed: a picture shows one network."""
    runs = val_runs(study, store).get(arm)
    if not runs:
        rule = "must have a complete trial to be drawn"
        raise RuntimeError(f"{study.identity}: {arm}: {rule}: see the study's errors, or run it with other values")
    return runs[0]


def _image_ious(folder: Path) -> NDArray[np.float64]:
    """``(N,)`` of each image, the mean IoU over the classes that its labels have, in percent."""
    counts = np.array(read_metrics(folder)["counts_per_image"], dtype=np.float64)
    true, false, missed = np.moveaxis(counts, -1, 0)
    present = true + missed > 0
    ious = np.where(present, true / np.maximum(true + false + missed, 1), 0)
    return np.asarray(100 * ious.sum(1) / np.maximum(present.sum(1), 1))


def _network(spec: TrialSpec, dataset: SegmentationDataset, store: Store) -> torch.nn.Module:
    folder = result_folder(spec, "finetune", store)
    assert folder is not None, "it has been evaluated"
    network = build.model(spec.model, dataset.num_classes, spec.seed)
    network.load_state_dict(load_file(folder / MODEL_FILE))
    return network.eval()


@torch.no_grad()
def _example(
    reason: str,
    index: int,
    dataset: SegmentationDataset,
    networks: Mapping[str, torch.nn.Module],
    ious: Mapping[str, NDArray[np.float64]],
) -> Example:
    sample = dataset.load(index)
    image = to_tensors(sample)[0].unsqueeze(0)
    predictions = {arm: network(image).argmax(1)[0].numpy().astype(np.uint8) for arm, network in networks.items()}
    return Example(reason, sample, predictions, {arm: float(ious[arm][index]) for arm in networks})
