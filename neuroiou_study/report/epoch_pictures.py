"""How a network's pictures of a few images change from epoch to epoch."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neuroiou_study.core.data.dataset import Sample
from neuroiou_study.report.palette import palette
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages import build
from neuroiou_study.stages.epoch_examples import read_examples, step
from neuroiou_study.stages.records import TrialRecord
from neuroiou_study.stages.store import Store

Picture = NDArray[np.uint8]


def epoch_pictures(study: StudySpec, store: Store, record: TrialRecord) -> list[tuple[str, int, Picture]]:
    """Name of an image of ``select``, epoch, and ``(H, 3 W, 3)``: image, labels, prediction; of the first seed.

    Empty where the images are not on this machine, or the network was made before pictures were kept.
    """
    address = record.runs[0].stages.get("finetune") if record.runs else None
    folder = store.find(address) if address else None
    found = read_examples(folder) if folder else []
    try:
        dataset = build.dataset(study.data, "select") if found else None
    except OSError:  # whoever looks from elsewhere does without
        return []
    if dataset is None:
        return []
    colours = palette(study.data.name, dataset.num_classes, dataset.ignore_index)
    samples = {position: dataset.load(position) for position, _, _ in found}
    return [
        (f"select_{position}", epoch, _beside(samples[position], np.array(Image.open(path)), colours))
        for position, epoch, path in found
    ]


def _beside(sample: Sample, predicted: NDArray[np.uint8], colours: Picture) -> Picture:
    stride = step(sample.labels.shape[1])
    image, labels = sample.image[::stride, ::stride], sample.labels[::stride, ::stride]
    return np.concatenate([image, colours[labels], colours[predicted]], axis=1)
