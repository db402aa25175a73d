"""A batch that goes through the network in parts has the loss and the gradient of the whole."""

import gc
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from neuroiou_study.core.data.loading import Batch
from neuroiou_study.core.losses import CrossEntropyLoss
from neuroiou_study.core.models.unet import UNet
from neuroiou_study.core.reduction import Reduction, SegmentationLoss
from neuroiou_study.core.training import train_epoch
from tests.core.examples import every_loss

CPU = torch.device("cpu")
NUM_CLASSES = 4
REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum")


def _losses() -> dict[str, SegmentationLoss]:
    losses = {}
    for reduction in REDUCTIONS:
        for name, loss_fn in every_loss(NUM_CLASSES).items():
            loss_fn.reduction = reduction
            losses[f"{name}_{reduction}"] = loss_fn
    return losses


def _batch(part: slice = slice(None)) -> Batch:
    """Some of five images with shares of void so different that a mean over parts is not the whole's."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, 3, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.randint(NUM_CLASSES, (5, 8, 8), generator=generator)
    labels[0][labels[0] == 1] = 2
    share = torch.tensor([0.9, 0.8, 0.5, 0.0, 0.1]).view(5, 1, 1)
    labels = torch.where(torch.rand(labels.shape, generator=generator) < share, 255, labels)
    return Batch(images[part], labels[part], torch.arange(5)[part], tuple("abcde")[part])


def _unet() -> nn.Module:
    torch.manual_seed(0)
    return UNet(NUM_CLASSES, width=4, levels=1).double()


def _step(network: nn.Module, loss_fn: SegmentationLoss, batch: Batch, **settings: Any) -> list[Tensor]:
    """The loss and the gradient of each parameter, of a step that changes nothing."""
    loss = train_epoch(network, [batch], loss_fn, torch.optim.SGD(network.parameters(), lr=0.0), CPU, **settings)
    return [torch.tensor(loss), *(p.grad.clone() for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize("micro_batches", [2, 3, 9])
@pytest.mark.parametrize("loss_name", _losses())
def test_parts_have_the_gradient_of_the_whole(loss_name: str, micro_batches: int) -> None:
    expected = _step(_unet(), _losses()[loss_name], _batch())
    assert len(expected) > 10 and expected[1].abs().max() > 1e-6
    found = _step(_unet(), _losses()[loss_name], _batch(), micro_batches=micro_batches)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss_name", [name for name in _losses() if name.endswith("_mean")])
def test_the_losses_of_parts_differ_so_that_the_test_above_can_fail(loss_name: str) -> None:
    loss_fn = _losses()[loss_name]
    whole, *parts = (_step(_unet(), loss_fn, _batch(part)) for part in (slice(5), slice(3), slice(3, 5)))
    assert not torch.allclose(whole[1], parts[0][1] * 0.6 + parts[1][1] * 0.4, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize(("micro_batches", "sizes"), [(1, [5]), (2, [3, 2] * 2), (3, [2, 2, 1] * 2), (9, [1] * 10)])
def test_no_more_images_than_a_part_s_are_in_the_network(micro_batches: int, sizes: list[int]) -> None:
    network, seen = _unet(), list[int]()
    network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    _step(network, CrossEntropyLoss(), _batch(), micro_batches=micro_batches)
    assert seen == sizes


def _noisy() -> nn.Sequential:
    """A network with dropout and batch normalisation."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
    return nn.Sequential(*layers, nn.Conv2d(8, NUM_CLASSES, 1)).double()


def _in_one_graph(network: nn.Module, batch: Batch, num_parts: int) -> None:
    """The gradient of parts by plain means, which need the memory of all."""
    logits = torch.cat([network(part) for part in batch.images.tensor_split(num_parts)])
    CrossEntropyLoss()(logits, batch.labels).backward()


def test_dropout_draws_the_same_both_times_and_running_statistics_move_once() -> None:
    plain, parted = _noisy(), _noisy()
    torch.manual_seed(1)
    _in_one_graph(plain, _batch(), 2)
    after = torch.rand(3)
    torch.manual_seed(1)
    _step(parted, CrossEntropyLoss(), _batch(), micro_batches=2)
    assert torch.equal(torch.rand(3), after)
    for one, other in zip(plain.parameters(), parted.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    assert int(cast("Tensor", parted[1].num_batches_tracked)) == 2
    for moved, once in zip(plain.buffers(), parted.buffers(), strict=True):
        assert torch.equal(moved, once)


def test_half_precision_is_the_network_s_in_every_part() -> None:
    network, batch = _unet().float(), _batch()
    batch = batch._replace(images=batch.images.float())
    whole = _step(network, CrossEntropyLoss(), batch, precision="bfloat16")
    parts = _step(network, CrossEntropyLoss(), batch, precision="bfloat16", micro_batches=2)
    exact = _step(network, CrossEntropyLoss(), batch, micro_batches=2)
    assert not torch.equal(parts[1], exact[1])
    torch.testing.assert_close(parts, whole, rtol=0.05, atol=0.01)


def _losses_of_groups() -> dict[str, SegmentationLoss]:
    """But one: the pixels of a batch cannot be sorted over workers."""
    return {name: loss_fn for name, loss_fn in _losses().items() if not name.startswith("lovasz_batch")}


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    own = (slice(0, 1), slice(1, 5))[rank]  # so that the first worker has one part, however many the other has
    network = DistributedDataParallel(_unet())
    results = {}
    for name, loss_fn in _losses_of_groups().items():
        loss_fn.sum_over_workers = all_reduce
        for micro_batches in (2, 3):
            results[name, micro_batches] = _step(network, loss_fn, _batch(own), micro_batches=micro_batches)
    torch.save(results, f"{folder}/{rank}.pt")
    # A DDP network that outlives this call takes the group down while it holds the GIL, and can hang there.
    del network
    gc.collect()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def of_two_workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[tuple[str, int], list[Tensor]]]:
    folder: Path = tmp_path_factory.mktemp("gloo")
    spawn(_work, args=(str(folder),), nprocs=2, daemon=True)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("micro_batches", [2, 3])
@pytest.mark.parametrize("loss_name", _losses_of_groups())
def test_two_workers_with_parts_equal_one_without(
    loss_name: str, micro_batches: int, of_two_workers: list[dict[tuple[str, int], list[Tensor]]]
) -> None:
    expected = _step(_unet(), _losses_of_groups()[loss_name], _batch())
    for results in of_two_workers:
        torch.testing.assert_close(results[loss_name, micro_batches], expected, rtol=1e-9, atol=1e-12)
