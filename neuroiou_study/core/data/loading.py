"""Batches that are the same whoever loads them: order and augmentation depend on seed, epoch and sample alone.

A global batch is split over the workers of a group, so N workers see together what one would see alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.data.transforms import FLIP_ONLY, Augment, to_tensors


class Batch(NamedTuple):
    images: Tensor  # (B, 3, H, W) float32
    labels: Tensor  # (B, H, W) int64
    indices: Tensor  # (B,) position in the split
    names: tuple[str, ...]


class Shard(NamedTuple):
    """Which part of every batch this process loads."""

    rank: int = 0
    world_size: int = 1


class _Examples(Dataset[tuple[Tensor, Tensor, int, str]]):
    """Samples of ``dataset``, varied by ``augment`` with ``(*seed, index)``, or as they are stored."""

    def __init__(self, dataset: SegmentationDataset, augment: Augment | None, seed: tuple[int, ...] = ()) -> None:
        self.dataset, self.augment, self.seed = dataset, augment, seed

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int, str]:
        sample = self.dataset.load(index)
        if self.augment is not None:
            sample = self.augment(sample, (*self.seed, index), self.dataset.ignore_index)
        return *to_tensors(sample), index, sample.name


def _collate(examples: list[tuple[Tensor, Tensor, int, str]]) -> Batch:
    images, labels, indices, names = zip(*examples, strict=True)
    _require_one_size(images, names)
    return Batch(torch.stack(images), torch.stack(labels), torch.tensor(indices), names)


def _require_one_size(images: tuple[Tensor, ...], names: tuple[str, ...]) -> None:
    for image, name in zip(images, names, strict=True):
        if image.shape != images[0].shape:
            (height, width), (other_height, other_width) = images[0].shape[1:], image.shape[1:]
            raise ValueError(
                f"images {names[0]}, {width}×{height}, and {name}, {other_width}×{other_height}: must have one size "
                "in a batch: set data.size (or, for training, data.augment.crop; for evaluation, batch_size 1)"
            )


def training_batches(
    dataset: SegmentationDataset,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    shard: Shard,
    loader_workers: int = 0,
    augment: Augment = FLIP_ONLY,
) -> Iterator[Batch]:
    """This shard's part of each global batch of ``batch_size`` images of ``epoch``: shuffled and varied by ``augment``.

    An incomplete last batch is dropped. Raises ValueError if the split has fewer than ``batch_size`` images or a
    batch fewer images than there are workers.
    """
    if not shard.world_size <= batch_size <= len(dataset):
        raise ValueError(
            f"batch_size: {batch_size}: at least one image a worker ({shard.world_size}) and at most the training "
            f"split ({len(dataset)}): change batch_size"
        )
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()
    full = len(order) - len(order) % batch_size
    batches = [order[i : i + batch_size][shard.rank :: shard.world_size] for i in range(0, full, batch_size)]
    return _load(_Examples(dataset, augment, (seed, epoch)), batches, loader_workers)


def evaluation_batches(
    dataset: SegmentationDataset, batch_size: int, *, shard: Shard, loader_workers: int = 0
) -> Iterator[Batch]:
    """This shard's images in order, as stored, each once. Images of different sizes need a ``batch_size`` of 1."""
    mine = list(range(shard.rank, len(dataset), shard.world_size))
    batches = [mine[i : i + batch_size] for i in range(0, len(mine), batch_size)]
    return _load(_Examples(dataset, None), batches, loader_workers)


def _load(examples: _Examples, batches: list[list[int]], loader_workers: int) -> Iterator[Batch]:
    loader = DataLoader(examples, batch_sampler=batches, num_workers=loader_workers, collate_fn=_collate)
    return iter(loader)
