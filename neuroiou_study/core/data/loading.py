"""Batches that are the same whoever loads them: order and augmentation depend on seed, epoch and sample alone.

A global batch is split over the workers of a group, so N workers see together what one would see alone.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from neuroiou_study.core.data.dataset import Sample, SegmentationDataset
from neuroiou_study.core.data.transforms import FLIP_ONLY, Augment, normalised

_CPU = torch.device("cpu")


class Batch(NamedTuple):
    images: Tensor  # (B, 3, H, W) float32
    labels: Tensor  # (B, H, W) int64
    indices: Tensor  # (B,) position in the split
    names: tuple[str, ...]


class Shard(NamedTuple):
    """Which part of every batch this process loads."""

    rank: int = 0
    world_size: int = 1


class _Key(NamedTuple):
    """A sample as it is wanted: varied by ``augment`` with ``(*seed, position)``, or as it is stored."""

    position: int
    augment: Augment | None = None
    seed: tuple[int, ...] = ()


class _Stored(NamedTuple):
    """A batch in bytes, which travel between processes and to a GPU in a fifth of the time."""

    images: Tensor  # (B, H, W, 3) uint8
    labels: Tensor  # (B, H, W) uint8
    indices: Tensor  # (B,)
    names: tuple[str, ...]


class _Examples(Dataset[tuple[Sample, int]]):
    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: _Key) -> tuple[Sample, int]:
        sample = self.dataset.load(key.position)
        if key.augment is not None:
            sample = key.augment(sample, (*key.seed, key.position), self.dataset.ignore_index)
        return sample, key.position


class _Batches:
    """The batches of one pass, to which a DataLoader looks anew in each."""

    def __init__(self) -> None:
        self.of_pass: list[list[_Key]] = []

    def __iter__(self) -> Iterator[list[_Key]]:
        return iter(self.of_pass)


def _say_nothing() -> None:
    pass


class Loader:
    """Loads ``dataset``, pass after pass, in this process or in ``loader_workers`` others, which it keeps.

    Batches are on ``device``; ``on_batch`` is called for each. One pass ends before the next begins.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        *,
        shard: Shard = Shard(),  # noqa: B008  immutable
        loader_workers: int = 0,
        device: torch.device = _CPU,
        on_batch: Callable[[], None] = _say_nothing,
    ) -> None:
        self.dataset, self.shard, self.device, self.on_batch = dataset, shard, device, on_batch
        self._batches = _Batches()
        self._loader = DataLoader(
            _Examples(dataset),
            batch_sampler=self._batches,
            num_workers=loader_workers,
            collate_fn=_collate,
            pin_memory=device.type == "cuda",
            persistent_workers=loader_workers > 0,
            generator=torch.Generator(),
        )

    def training_batches(
        self, batch_size: int, *, seed: int, epoch: int, augment: Augment = FLIP_ONLY, start: int = 0
    ) -> Iterator[Batch]:
        """As :func:`training_batches`."""
        num_images, shard = len(self.dataset), self.shard
        if not shard.world_size <= batch_size <= num_images:
            raise ValueError(
                f"batch_size: {batch_size}: at least one image a worker ({shard.world_size}) and at most the training "
                f"split ({num_images}): change batch_size"
            )
        order = torch.randperm(num_images, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()
        full = num_images - num_images % batch_size
        firsts = range(start * batch_size, full, batch_size)
        batches = [order[i : i + batch_size][shard.rank :: shard.world_size] for i in firsts]
        return self._pass([[_Key(index, augment, (seed, epoch)) for index in batch] for batch in batches])

    def evaluation_batches(self, batch_size: int) -> Iterator[Batch]:
        """As :func:`evaluation_batches`."""
        mine = [_Key(index) for index in range(self.shard.rank, len(self.dataset), self.shard.world_size)]
        return self._pass([mine[i : i + batch_size] for i in range(0, len(mine), batch_size)])

    def _pass(self, batches: list[list[_Key]]) -> Iterator[Batch]:
        self._batches.of_pass = batches
        # What a DataLoader takes that is made for each pass: kept, because dropout goes on where this ends.
        torch.empty((), dtype=torch.int64).random_()
        return (self._delivered(stored) for stored in self._loader)

    def _delivered(self, stored: _Stored) -> Batch:
        self.on_batch()
        return _on_device(stored, self.device)


def training_batches(
    dataset: SegmentationDataset,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    shard: Shard,
    loader_workers: int = 0,
    augment: Augment = FLIP_ONLY,
    start: int = 0,
) -> Iterator[Batch]:
    """This shard's part of each global batch of ``batch_size`` images of ``epoch``: shuffled and varied by ``augment``.

    An incomplete last batch is dropped, and so are the first ``start``, whose images are not loaded. Raises ValueError
    if the split has fewer than ``batch_size`` images or a batch fewer images than there are workers.
    """
    loader = Loader(dataset, shard=shard, loader_workers=loader_workers)
    return loader.training_batches(batch_size, seed=seed, epoch=epoch, augment=augment, start=start)


def evaluation_batches(
    dataset: SegmentationDataset, batch_size: int, *, shard: Shard, loader_workers: int = 0
) -> Iterator[Batch]:
    """This shard's images in order, as stored, each once. Images of different sizes need a ``batch_size`` of 1."""
    return Loader(dataset, shard=shard, loader_workers=loader_workers).evaluation_batches(batch_size)


def _collate(examples: list[tuple[Sample, int]]) -> _Stored:
    samples, indices = zip(*examples, strict=True)
    images, labels, names = zip(*samples, strict=True)
    _require_one_size(images, names)
    return _Stored(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)), torch.tensor(indices), names)


def _require_one_size(images: tuple[NDArray[np.uint8], ...], names: tuple[str, ...]) -> None:
    for image, name in zip(images, names, strict=True):
        if image.shape != images[0].shape:
            (height, width), (other_height, other_width) = images[0].shape[:2], image.shape[:2]
            raise ValueError(
                f"images {names[0]}, {width}×{height}, and {name}, {other_width}×{other_height}: must have one size "
                "in a batch: set data.size (or, for training, data.augment.crop; for evaluation, batch_size 1)"
            )


def _on_device(stored: _Stored, device: torch.device) -> Batch:
    """What a network takes; a copy to a GPU overlaps with what the GPU is doing."""
    images, labels = (part.to(device, non_blocking=True) for part in (stored.images, stored.labels))
    # Bytes are put into the order of channels first: they are four times fewer than floats.
    return Batch(normalised(images.permute(0, 3, 1, 2).contiguous()), labels.long(), stored.indices, stored.names)
