"""Before anything is spent: do the files, the batches and the losses of a study fit each other?"""

from collections.abc import Iterator

from neuroiou_study.core.data.dataset import SPLITS
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.trial import NeuroIoUSpec
from neuroiou_study.stages import build


def check_data(study: StudySpec) -> Iterator[str]:
    """Open every sample of every split, yielding names as it goes.

    Raises FileNotFoundError or ValueError, *where: value: rule: remedy*, at the first thing that is wrong.
    """
    datasets = {split: build.dataset(study.data, split) for split in SPLITS}
    for split, dataset in datasets.items():
        if len(dataset) == 0:
            raise ValueError(f"data: split {split} is empty: it needs an image: add images or change select_fraction")
    _check_batches(study, len(datasets["train"]))
    for dataset in datasets.values():
        yield from dataset.check()
    for loss in (study.pretrain.loss, study.finetune.loss, *study.controls.values()):
        if not isinstance(loss, NeuroIoUSpec):
            build.loss(loss, datasets["train"])


def num_samples(study: StudySpec) -> int:
    """How many samples :func:`check_data` opens."""
    return sum(len(build.dataset(study.data, split)) for split in SPLITS)


def _check_batches(study: StudySpec, num_train: int) -> None:
    least = max(study.resources.workers, study.resources.shared_workers or 1)
    for name, batch_size in _batch_sizes(study):
        if not least <= batch_size <= num_train:
            raise ValueError(
                f"{name}: {batch_size}: at least one image for each of {least} workers and at most the "
                f"{num_train} training images: change it"
            )


def _batch_sizes(study: StudySpec) -> Iterator[tuple[str, int]]:
    """The study's own batch sizes and the ends of those that are searched."""
    yield "pretrain.batch_size", study.pretrain.batch_size
    yield "finetune.batch_size", study.finetune.batch_size
    for name in ("pretrain.batch_size", "finetune.batch_size"):
        if name in study.search:
            yield from ((f"search.{name}", int(value)) for value in study.search[name].corners)
