import pytest
import torch

from neuroiou_study.core.data.dataset import Sample
from neuroiou_study.core.data.loading import Batch, Shard, evaluation_batches, training_batches
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.core.data.transforms import FLIP_ONLY, Augment, to_tensors

SHAPES = ShapesDataset("train", 10, 12, 16)


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


@pytest.mark.parametrize("augment", [FLIP_ONLY, Augment(scale=(0.5, 2.0), crop=(9, 20), colour=0.5)])
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
