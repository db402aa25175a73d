"""Two workers with half of a batch each must have the loss and the gradient of one with the whole batch."""

import gc
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from neuroiou_study.core.losses import CrossEntropyLoss, SoftIoULoss
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.reduction import SegmentationLoss, in_labels, valid_pixels
from tests.core.examples import surrogate

NUM_CLASSES = 4


def _losses() -> dict[str, SegmentationLoss]:
    return {
        "cross_entropy": CrossEntropyLoss(),
        "weighted": CrossEntropyLoss(class_weights=[0.5, 1.0, 2.0, 4.0]),
        "soft_iou_image": SoftIoULoss(),
        "soft_iou_batch": SoftIoULoss(aggregate="batch"),
        "neuroiou_image": NeuroIoULoss(surrogate(depth=2)),
        "neuroiou_batch": NeuroIoULoss(surrogate(depth=2), aggregate="batch"),
    }


def _batches() -> dict[str, tuple[Tensor, Tensor]]:
    """Four images, of which the first two have much more void than the others, or nothing else."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 5, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(NUM_CLASSES, (4, 5, 6), generator=generator)
    labels[0][labels[0] == 1] = 2  # the halves differ in their number of rows too
    share = torch.tensor([0.8, 0.6, 0.05, 0.0]).view(4, 1, 1)
    uneven = torch.where(torch.rand(labels.shape, generator=generator) < share, 255, labels)
    one_half_void = labels.clone()
    one_half_void[:2] = 255
    return {"uneven": (images, uneven), "one_half_void": (images, one_half_void)}


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, NUM_CLASSES, 1).double()


def _step(network: nn.Module, loss_fn: SegmentationLoss, images: Tensor, labels: Tensor) -> list[Tensor]:
    """The loss and the gradient of each parameter."""
    network.zero_grad()
    loss = loss_fn(network(images), labels)
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in network.parameters() if p.grad is not None)]


def _work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.save(_results(rank), f"{folder}/{rank}.pt")
    # A DDP network that outlives this call takes the group down while it holds the GIL, and can hang there.
    gc.collect()
    dist.destroy_process_group()


def _results(rank: int) -> dict[str, list[Tensor]]:
    half = slice(0, 2) if rank == 0 else slice(2, 4)
    network = DistributedDataParallel(_network())
    results = {}
    for loss_name, loss_fn in _losses().items():
        loss_fn.sum_over_workers = all_reduce
        for batch_name, (images, labels) in _batches().items():
            results[f"{loss_name}-{batch_name}"] = _step(network, loss_fn, images[half], labels[half])
    return results


@pytest.fixture(scope="module")
def of_two_workers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[Tensor]]]:
    folder: Path = tmp_path_factory.mktemp("gloo")
    spawn(_work, args=(str(folder),), nprocs=2, daemon=True)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("batch_name", _batches())
@pytest.mark.parametrize("loss_name", _losses())
def test_two_workers_equal_one(loss_name: str, batch_name: str, of_two_workers: list[dict[str, list[Tensor]]]) -> None:
    expected = _step(_network(), _losses()[loss_name], *_batches()[batch_name])
    assert len(expected) == 3
    assert expected[1].abs().max() > 1e-6
    for results in of_two_workers:
        torch.testing.assert_close(results[f"{loss_name}-{batch_name}"], expected)


@pytest.mark.parametrize("loss_name", _losses())
def test_the_halves_differ_so_that_the_test_above_can_fail(loss_name: str) -> None:
    images, labels = _batches()["uneven"]
    loss_fn = _losses()[loss_name]
    whole, *halves = (loss_fn(_network()(images[part]), labels[part]) for part in (slice(4), slice(2), slice(2, 4)))
    assert abs(float((whole - (halves[0] + halves[1]) / 2).detach())) > 1e-4


def test_in_labels_and_valid_pixels_of_hand_worked_counts() -> None:
    counts = torch.tensor([[[3, 0, 0], [0, 5, 0], [0, 0, 2]]])  # hit | never labelled, predicted five times | missed
    assert in_labels(counts).tolist() == [[True, False, True]]
    assert valid_pixels(counts).tolist() == [5]
