"""Two workers with parts of a batch must have the loss and the gradient of one with the whole batch."""

import gc
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.multiprocessing.spawn import spawn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from neuroiou_study.core.losses import CrossEntropyLoss
from neuroiou_study.core.reduction import Reduction, RowLoss, SegmentationLoss, in_labels, valid_pixels
from tests.core.examples import AGGREGATES, batch, every_loss

NUM_CLASSES = 4
REDUCTIONS: tuple[Reduction, ...] = ("mean", "sum")


def _losses() -> dict[str, SegmentationLoss]:
    """Every loss by each reduction, but one: the pixels of a batch cannot be sorted over workers."""
    losses = {}
    for reduction in REDUCTIONS:
        for name, loss_fn in every_loss(NUM_CLASSES).items():
            if name != "lovasz_batch":
                loss_fn.reduction = reduction
                losses[f"{name}_{reduction}"] = loss_fn
    return losses


def _batches() -> dict[str, tuple[Tensor, Tensor]]:
    """Four images, of which the first has much more void than the others, or nothing else."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 5, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(NUM_CLASSES, (4, 5, 6), generator=generator)
    labels[0][labels[0] == 1] = 2  # the shares differ in their number of rows too
    share = torch.tensor([0.8, 0.6, 0.05, 0.0]).view(4, 1, 1)
    uneven = torch.where(torch.rand(labels.shape, generator=generator) < share, 255, labels)
    one_worker_void = labels.clone()
    one_worker_void[:1] = 255
    return {"uneven": (images, uneven), "one_worker_void": (images, one_worker_void)}


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
    own = (slice(0, 1), slice(1, 4))[rank]
    network = DistributedDataParallel(_network())
    results = {}
    for loss_name, loss_fn in _losses().items():
        loss_fn.sum_over_workers = all_reduce
        for batch_name, (images, labels) in _batches().items():
            results[f"{loss_name}-{batch_name}"] = _step(network, loss_fn, images[own], labels[own])
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
def test_the_parts_differ_so_that_the_test_above_can_fail(loss_name: str) -> None:
    images, labels = _batches()["uneven"]
    loss_fn = _losses()[loss_name]
    whole, *parts = (loss_fn(_network()(images[part]), labels[part]) for part in (slice(4), slice(1), slice(1, 4)))
    assert abs(float((whole - (parts[0] + parts[1]) / 2).detach())) > 1e-4


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 4.0]])
def test_by_sum_cross_entropy_adds_the_pixels_of_an_image_up(weights: list[float] | None) -> None:
    logits, labels = batch(images=3)
    loss_fn = CrossEntropyLoss(class_weights=weights)
    loss_fn.reduction = "sum"
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    expected = F.cross_entropy(logits, labels, weight=weight, ignore_index=255, reduction="sum") / 3
    torch.testing.assert_close(loss_fn(logits, labels), expected)


class _Spelled(RowLoss):
    """A row loss whose digits are the arguments: class, valid pixels, TP count and TP sum."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError

    def row_losses(self, counts: Tensor, sums: Tensor, num_pixels: Tensor, class_index: Tensor) -> Tensor:
        return class_index * 1000 + num_pixels * 100 + counts[:, 0] * 10 + sums[:, 0]


# Two images of 5 and 7 valid pixels; in the first nothing is of class 1, in none of class 2.
COUNTS = torch.tensor([[[2, 0, 3], [0, 3, 0], [0, 0, 0]], [[1, 1, 2], [3, 2, 1], [0, 0, 0]]])
SUMS = torch.tensor([[[1, 0, 0], [9, 9, 9], [9, 9, 9]], [[2, 0, 0], [3, 0, 0], [9, 9, 9]]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("aggregate", "reduction", "expected"),
    [
        ("image", "mean", (521 + 712 + 1733) / 3),
        ("image", "sum", (521 + 712 + 1733) / 2),
        ("batch", "mean", ((1200 + 30 + 3) + (1000 + 1200 + 30 + 12)) / 2),
        ("batch", "sum", (1200 + 30 + 3) + (1000 + 1200 + 30 + 12)),
    ],
)
def test_rows_of_hand_worked_statistics(aggregate: str, reduction: Reduction, expected: float) -> None:
    loss_fn = _Spelled(aggregate=aggregate)
    loss_fn.reduction = reduction
    assert float(loss_fn.mean_over_rows(COUNTS, SUMS)) == pytest.approx(expected)


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_statistics_of_nothing_cost_nothing(aggregate: str, reduction: Reduction) -> None:
    loss_fn = _Spelled(aggregate=aggregate)
    loss_fn.reduction = reduction
    assert float(loss_fn.mean_over_rows(torch.zeros_like(COUNTS), SUMS)) == 0


def test_in_labels_and_valid_pixels_of_hand_worked_counts() -> None:
    counts = torch.tensor([[[3, 0, 0], [0, 5, 0], [0, 0, 2]]])  # hit | never labelled, predicted five times | missed
    assert in_labels(counts).tolist() == [[True, False, True]]
    assert valid_pixels(counts).tolist() == [5]
