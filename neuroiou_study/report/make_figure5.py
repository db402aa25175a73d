"""Figure 5 anew: what CE and NeuroIoU make of some images of ``val``, chosen by rule and not by eye."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from neuroiou_study.core.data.dataset import Sample, SegmentationDataset
from neuroiou_study.core.data.transforms import to_tensors
from neuroiou_study.report.paper import NAMES
from neuroiou_study.report.reproduced import OURS, Reproduction, Row, Setting, network
from neuroiou_study.report.val_scores import val_runs
from neuroiou_study.spec import StudySpec, TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.evaluate import read_metrics
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.train_network import MODEL_FILE
from neuroiou_study.stages.trial import result_folder

ARMS = ("ce", "neuroiou")
BEST, SECOND, TYPICAL, WORST = "best for NeuroIoU", "second best", "median", "worst (failure)"


@dataclass(frozen=True)
class Example:
    """An image of ``val``, why it was chosen, and what each arm makes of it."""

    reason: str
    sample: Sample
    predictions: Mapping[str, NDArray[np.uint8]]
    """Arm → ``(H, W)`` classes."""
    ious: Mapping[str, float]
    """Arm → mean IoU over the classes of the image, in percent."""


def make_figure5(setting: Setting, store: Store) -> Reproduction:
    """The images where NeuroIoU gains most over CE, a typical one, and the one where it loses most.

    Raises RuntimeError if one of the two has no complete trial.
    """
    ((_, study),) = setting.studies.items()
    runs = {arm: _first_run(study, store, arm) for arm in ARMS}
    dataset = build.dataset(study.data, "val")
    gains = {arm: _image_ious(folder) for arm, (_, folder) in runs.items()}
    chosen = choose(gains["neuroiou"] - gains["ce"])
    networks = {arm: _network(spec, dataset, store) for arm, (spec, _) in runs.items()}
    examples = [_example(reason, index, dataset, networks, gains) for reason, index in chosen.items()]

    def draw(path: Path) -> None:
        from neuroiou_study.report.draw_examples import draw_examples

        title = setting.title(f"Figure 5: images of val, chosen by the difference in IoU, {network(study)}")
        draw_examples(path, title, examples, dataset.class_names, setting.palette, dataset.ignore_index)

    return Reproduction(
        setting=setting,
        headline="; ".join(_in_words(example) for example in examples),
        rows=[row for example in examples for row in _rows(example)],
        ours={example.reason: {"image": example.sample.name, "iou_percent": example.ious} for example in examples},
        paper={},
        draw=draw,
    )


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


def _rows(example: Example) -> Sequence[Row]:
    fixed = {"image": example.sample.name, "reason": example.reason, "source": OURS}
    return [{**fixed, "arm": arm, "iou_percent": iou} for arm, iou in example.ious.items()]


def _in_words(example: Example) -> str:
    scores = ", ".join(f"{NAMES[arm]} {iou:.1f}" for arm, iou in example.ious.items())
    return f"{example.reason} {example.sample.name}: {scores}"
