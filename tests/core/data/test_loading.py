import os
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from neuroiou_study.core.data.dataset import Sample, SegmentationDataset
from neuroiou_study.core.data.loading import Batch, Loader, Shard, _Examples, evaluation_batches, training_batches
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.core.data.transforms import FLIP_ONLY, Augment, normalised, to_tensors

SHAPES = ShapesDataset("train", 10, 12, 16)
HARD = Augment(scale=(0.5, 2.0), crop=(9, 20), colour=0.5)
SHAPES_12 = ShapesDataset("train", 12, 12, 16)


class Growing(ShapesDataset):
    """Each image is a pixel wider than the one before."""

    def load(self, index: int) -> Sample:
        image, labels, name = super().load(index)
        return Sample(image[:, : 6 + index].copy(), labels[:, : 6 + index].copy(), name)


GROWING = Growing("train", 10, 12, 16)


def _epoch(
    epoch: int = 0,
    *,
    seed: int = 0,
    shard: Shard | None = None,
    loader_workers: int = 0,
    augment: Augment = FLIP_ONLY,
    dataset: ShapesDataset = SHAPES,
) -> list[Batch]:
    batches = training_batches(
        dataset,
        4,
        seed=seed,
        epoch=epoch,
        shard=shard or Shard(),
        loader_workers=loader_workers,
        augment=augment,
    )
    return list(batches)


def _order(batches: list[Batch]) -> list[int]:
    return [index for batch in batches for index in batch.indices.tolist()]


def _same(first: Batch, second: Batch) -> bool:
    tensors = zip(first[:3], second[:3], strict=True)
    return first.names == second.names and all(torch.equal(a, b) for a, b in tensors)


def test_a_batch_holds_tensors_of_the_promised_types() -> None:
    batch = _epoch()[0]
    assert batch.images.shape == (4, 3, 12, 16)
    assert batch.images.dtype == torch.float32
    assert batch.labels.shape == (4, 12, 16)
    assert batch.labels.dtype == batch.indices.dtype == torch.int64
    assert batch.names == tuple(SHAPES.load(index).name for index in batch.indices.tolist())


def test_an_epoch_has_each_image_once_but_for_an_incomplete_last_batch() -> None:
    order = _order(_epoch())
    assert len(order) == len(set(order)) == 8


def test_batches_are_decided_by_seed_and_epoch() -> None:
    assert all(_same(a, b) for a, b in zip(_epoch(), _epoch(), strict=True))
    assert _order(_epoch(0)) != _order(_epoch(1))
    assert _order(_epoch(0, seed=0)) != _order(_epoch(0, seed=1))


def test_mirroring_differs_between_epochs_and_spares_half_of_the_images() -> None:
    mirrored = []
    for epoch in range(20):
        for batch in _epoch(epoch):
            for labels, index in zip(batch.labels, batch.indices.tolist(), strict=True):
                stored = torch.from_numpy(SHAPES.load(index).labels).long()
                assert torch.equal(labels, stored) or torch.equal(labels, stored.fliplr())
                mirrored.append(not torch.equal(labels, stored))
    assert 0.35 < sum(mirrored) / len(mirrored) < 0.65


def test_image_and_labels_are_mirrored_together() -> None:
    for batch in _epoch():
        for image, labels, index in zip(batch.images, batch.labels, batch.indices.tolist(), strict=True):
            stored = SHAPES.load(index)
            is_mirrored = not torch.equal(labels, torch.from_numpy(stored.labels).long())
            original = (torch.from_numpy(stored.image).permute(2, 0, 1) / 255 - 0.5) / 0.25
            torch.testing.assert_close(image, original.flip(-1) if is_mirrored else original)


@pytest.mark.parametrize("augment", [FLIP_ONLY, HARD])
def test_augmentation_is_decided_by_seed_epoch_and_sample_alone(augment: Augment) -> None:
    for epoch in range(2):
        for batch in _epoch(epoch, seed=3, augment=augment):
            for image, labels, index in zip(batch.images, batch.labels, batch.indices.tolist(), strict=True):
                expected = to_tensors(augment(SHAPES.load(index), (3, epoch, index), SHAPES.ignore_index))
                assert torch.equal(image, expected[0])
                assert torch.equal(labels, expected[1])


def test_without_augmentation_training_sees_images_as_they_are_stored() -> None:
    for batch in _epoch(augment=Augment(flip=False)):
        for labels, index in zip(batch.labels, batch.indices.tolist(), strict=True):
            assert torch.equal(labels, torch.from_numpy(SHAPES.load(index).labels).long())


@pytest.mark.parametrize("loader_workers", [0, 1])
def test_images_of_one_batch_with_different_sizes_are_named(loader_workers: int) -> None:
    message = (
        r"images train-00000, 6×12, and train-00001, 7×12: must have one size in a batch: set data\.size \(or, for "
        r"training, data\.augment\.crop; for evaluation, batch_size 1\)"
    )
    with pytest.raises(ValueError, match=message):
        list(evaluation_batches(GROWING, 2, shard=Shard(), loader_workers=loader_workers))


def test_images_of_different_sizes_are_cropped_or_go_one_by_one() -> None:
    with pytest.raises(ValueError, match="must have one size in a batch"):
        _epoch(dataset=GROWING)
    assert {batch.images.shape for batch in _epoch(dataset=GROWING, augment=Augment(crop=(8, 8)))} == {(4, 3, 8, 8)}
    widths = [batch.images.shape[-1] for batch in evaluation_batches(GROWING, 1, shard=Shard())]
    assert widths == list(range(6, 16))


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_two_shards_interleave_to_the_batches_of_one(loader_workers: int) -> None:
    shards = [_epoch(shard=Shard(rank, 2), loader_workers=loader_workers) for rank in range(2)]
    for whole, *parts in zip(_epoch(), *shards, strict=True):
        for rank, part in enumerate(parts):
            assert torch.equal(part.images, whole.images[rank::2])
            assert torch.equal(part.labels, whole.labels[rank::2])
            assert part.names == whole.names[rank::2]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_shards_hold_each_image_once_as_it_is_stored(world_size: int) -> None:
    shards = [list(evaluation_batches(SHAPES, 3, shard=Shard(rank, world_size))) for rank in range(world_size)]
    assert sorted(_order([batch for shard in shards for batch in shard])) == list(range(10))
    for batch in shards[0]:
        for labels, index in zip(batch.labels, batch.indices.tolist(), strict=True):
            assert torch.equal(labels, torch.from_numpy(SHAPES.load(index).labels).long())


@pytest.mark.parametrize(("batch_size", "world_size"), [(11, 1), (2, 3), (0, 1)])
def test_a_batch_size_that_cannot_be_is_refused(batch_size: int, world_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size: {batch_size}: at least one image a worker .*change batch_size"):
        training_batches(SHAPES, batch_size, seed=0, epoch=0, shard=Shard(0, world_size))


def as_first_written(dataset: SegmentationDataset, batch: Batch, varied: tuple[Augment, int, int] | None) -> Batch:
    """``batch`` made image by image with plain arithmetic, as results that are kept were computed."""
    images, labels, names = [], [], []
    for index in batch.indices.tolist():
        sample = dataset.load(index)
        if varied is not None:
            augment, seed, epoch = varied
            sample = augment(sample, (seed, epoch, index), dataset.ignore_index)
        images.append((torch.from_numpy(sample.image).permute(2, 0, 1).float() / 255 - 0.5) / 0.25)
        labels.append(torch.from_numpy(sample.labels).long())
        names.append(sample.name)
    return Batch(torch.stack(images), torch.stack(labels), batch.indices, tuple(names))


@pytest.mark.parametrize("loader_workers", [0, 2])
@pytest.mark.parametrize("augment", [FLIP_ONLY, HARD])
def test_a_loader_s_passes_are_bit_for_bit_what_they_were(loader_workers: int, augment: Augment) -> None:
    train, select = (Loader(SHAPES, loader_workers=loader_workers) for _ in range(2))
    for epoch in range(3):
        expected = torch.randperm(10, generator=torch.Generator().manual_seed(7 * 1_000_003 + epoch)).tolist()[:8]
        batches = list(train.training_batches(4, seed=7, epoch=epoch, augment=augment))
        assert _order(batches) == expected
        assert all(_same(batch, as_first_written(SHAPES, batch, (augment, 7, epoch))) for batch in batches)
        assert all(batch.images.is_contiguous() and batch.labels.is_contiguous() for batch in batches)
        batches = list(select.evaluation_batches(3))
        assert _order(batches) == list(range(10))
        assert all(_same(batch, as_first_written(SHAPES, batch, None)) for batch in batches)


class Watched(ShapesDataset):
    """Remembers which images were loaded."""

    def __init__(self) -> None:
        super().__init__("train", 10, 12, 16)
        self.loaded: list[int] = []

    def load(self, index: int) -> Sample:
        self.loaded.append(index)
        return super().load(index)


@pytest.mark.parametrize("loader_workers", [0, 2])
@pytest.mark.parametrize("start", [0, 1, 3, 5])
@pytest.mark.parametrize("shard", [Shard(), Shard(1, 2)])
def test_a_pass_that_starts_later_has_the_later_batches(start: int, shard: Shard, loader_workers: int) -> None:
    settings: dict[str, Any] = {"seed": 1, "epoch": 2, "shard": shard, "augment": HARD}
    whole = list(training_batches(SHAPES, 2, **settings))
    rest = list(training_batches(SHAPES, 2, **settings, start=start, loader_workers=loader_workers))
    assert len(rest) == 5 - start
    assert all(_same(one, other) for one, other in zip(whole[start:], rest, strict=True))


def test_what_is_left_out_is_not_loaded() -> None:
    dataset = Watched()
    batches = list(training_batches(dataset, 4, seed=0, epoch=0, shard=Shard(), start=1))
    assert dataset.loaded == _order(batches) and len(dataset.loaded) == 4


def test_a_loader_tells_of_every_batch_when_it_is_there() -> None:
    told: list[int] = []
    loader = Loader(SHAPES, on_batch=lambda: told.append(1))
    batches = loader.training_batches(4, seed=0, epoch=0)
    assert told == []
    next(batches)
    assert told == [1]


class Telling(ShapesDataset):
    """Samples that say which process loaded them."""

    def load(self, index: int) -> Sample:
        image, labels, _ = super().load(index)
        return Sample(image, labels, str(os.getpid()))


def test_a_loader_keeps_its_processes_even_when_a_pass_is_given_up() -> None:
    loader = Loader(Telling("train", 12, 12, 16), loader_workers=2)
    pids = set[str]()
    for epoch in range(3):
        (first, *_) = next(loader.training_batches(4, seed=0, epoch=epoch)).names
        pids.add(first)
        batches = list(loader.training_batches(2, seed=0, epoch=epoch))
        assert _order(batches) == _order(list(training_batches(SHAPES_12, 2, seed=0, epoch=epoch, shard=Shard())))
        pids |= {name for batch in batches for name in batch.names}
    assert len(pids) == 2
    assert str(os.getpid()) not in pids


@pytest.mark.parametrize("loader_workers", [0, 1])
def test_each_pass_takes_one_number_of_the_global_generator(loader_workers: int) -> None:
    """As a new DataLoader does: dropout, which goes on from there, is as it was, with kept processes too."""
    loader = Loader(SHAPES, loader_workers=loader_workers)
    for epoch in range(2):
        torch.manual_seed(epoch)
        iter(DataLoader(_Examples(SHAPES)))
        expected = torch.rand(3)
        torch.manual_seed(epoch)
        list(loader.training_batches(4, seed=0, epoch=epoch))
        assert torch.equal(torch.rand(3), expected)


def test_every_byte_becomes_the_same_float_by_any_way() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(normalised(pixels), (pixels.float() / 255 - 0.5) / 0.25)
    assert torch.equal(pixels, torch.arange(256, dtype=torch.uint8))
    image, _ = to_tensors(Sample(pixels.numpy().repeat(3).reshape(1, 256, 3), pixels.numpy()[None], "x"))
    assert torch.equal(image, normalised(pixels).expand(3, 1, 256))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("loader_workers", [0, 2])
def test_batches_on_a_gpu_are_bit_for_bit_those_of_the_cpu(loader_workers: int) -> None:
    loader = Loader(SHAPES, loader_workers=loader_workers, device=torch.device("cuda", 0))
    for epoch in range(2):
        expected = Loader(SHAPES).training_batches(4, seed=0, epoch=epoch)
        for batch, wanted in zip(loader.training_batches(4, seed=0, epoch=epoch), expected, strict=True):
            assert batch.images.is_cuda and batch.labels.is_cuda and not batch.indices.is_cuda
            assert _same(Batch(batch.images.cpu(), batch.labels.cpu(), batch.indices, batch.names), wanted)
