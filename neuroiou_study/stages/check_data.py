"""Before anything is spent: do the files, the network, the batches and the losses of a study fit each other?"""

from collections.abc import Iterator

from neuroiou_study.core.data.dataset import SPLITS, Sample, SegmentationDataset, Split
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.losses import LossSpec, NeuroIoUSpec, WeightedCrossEntropySpec
from neuroiou_study.stages import build


def check_data(study: StudySpec, at_most: int | None = None) -> Iterator[str]:
    """Open every sample of every split, yielding names as it goes; build the network with its weights.

    ``at_most`` opens so many of each split only, evenly spaced; every listed file must be there all the same.
    Raises FileNotFoundError or ValueError, *where: value: rule: remedy*, at the first thing that is wrong; RuntimeError
    if weights in object storage cannot be read.
    """
    datasets = {split: build.dataset(study.data, split) for split in SPLITS}
    for split, dataset in datasets.items():
        if len(dataset) == 0:
            raise ValueError(f"data: split {split} is empty: it needs an image: add images or change select_fraction")
    _check_batches(study, len(datasets["train"]))
    build.model(study.model, datasets["train"].num_classes, study.seed, pretrained=True)
    for split, dataset in datasets.items():
        yield from _check_samples(dataset, split, _whole_image_batches(study, split), at_most)
    for loss in (study.pretrain.loss, study.finetune.loss, *study.controls.values()):
        if not isinstance(loss, NeuroIoUSpec) and (at_most is None or not _reads_all_labels(loss)):
            build.loss(loss, datasets["train"])


def num_samples(study: StudySpec, at_most: int | None = None) -> int:
    """How many samples :func:`check_data` opens."""
    return sum(len(evenly_spaced(len(build.dataset(study.data, split)), at_most)) for split in SPLITS)


def evenly_spaced(number: int, at_most: int | None) -> list[int]:
    """``at_most`` of the positions 0 … ``number`` - 1, the first and the last among them; all if there are no more."""
    if at_most is None or number <= at_most:
        return list(range(number))
    return [each * (number - 1) // max(1, at_most - 1) for each in range(at_most)]


def _reads_all_labels(loss: LossSpec) -> bool:
    return isinstance(loss, WeightedCrossEntropySpec) and isinstance(loss.class_weights, str)


def _check_samples(
    dataset: SegmentationDataset, split: Split, batched_by: list[str], at_most: int | None
) -> Iterator[str]:
    """The names of the samples, opened; of one size if ``batched_by`` names a setting that batches whole images."""
    first: Sample | None = None
    for sample in map(dataset.load, evenly_spaced(len(dataset), at_most)):
        first = first or sample
        if batched_by and sample.labels.shape != first.labels.shape:
            raise ValueError(
                f"data: split {split} has {_size(first)} and {_size(sample)}: images of one batch must have one size: "
                f"set data.size, or to 1: {', '.join(batched_by)}"
            )
        yield sample.name


def _size(sample: Sample) -> str:
    height, width = sample.labels.shape
    return f"{sample.name} of {width}×{height}"


def _whole_image_batches(study: StudySpec, split: Split) -> list[str]:
    """The settings that put two or more images of ``split``, as they are loaded, into one batch."""
    # Training measures itself on select after each epoch, image by image where it crops images of many sizes.
    training = ("pretrain.batch_size", "finetune.batch_size") if study.data.augment.crop is None else ()
    users = {
        "train": ("collect_pairs.batch_size", *training),
        "select": (*training, "evaluate.batch_size"),
        "val": ("evaluate.batch_size",),
    }[split]
    return [name for name in users if any(value > 1 for _, value in _batch_sizes(study, name))]


def _check_batches(study: StudySpec, num_train: int) -> None:
    least = max(study.resources.workers, study.resources.shared_workers or 1)
    for setting in ("pretrain.batch_size", "finetune.batch_size"):
        for name, batch_size in _batch_sizes(study, setting):
            if not least <= batch_size <= num_train:
                raise ValueError(
                    f"{name}: {batch_size}: at least one image for each of {least} workers and at most the "
                    f"{num_train} training images: change it"
                )


def _batch_sizes(study: StudySpec, setting: str) -> Iterator[tuple[str, int]]:
    """The study's own value of ``setting`` and, if it is searched, the ends of its range; each with its name."""
    stage, field = setting.split(".")
    yield setting, getattr(getattr(study, stage), field)
    if setting in study.search:
        yield from ((f"search.{setting}", int(value)) for value in study.search[setting].corners)
