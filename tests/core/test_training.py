import gc
import math
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuroiou_study.core.data.loading import Batch, Shard, evaluation_batches, training_batches
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.core.losses import CrossEntropyLoss
from neuroiou_study.core.metrics import pixel_accuracy
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.reduction import SegmentationLoss
from neuroiou_study.core.training import NonFiniteLossError, evaluate_counts, train_epoch
from tests.core.examples import every_loss, surrogate

CPU = torch.device("cpu")
SHAPES = ShapesDataset("train", 10, 16, 20)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(8, 6, 1))


def _counts(network: nn.Module, shard: Shard, batch_size: int = 3) -> Tensor:
    batches = evaluation_batches(SHAPES, batch_size, shard=shard)
    return evaluate_counts(network, batches, num_images=10, num_classes=6, ignore_index=255, device=CPU)


@pytest.mark.parametrize("name", every_loss())
def test_steps_lower_the_loss(name: str) -> None:
    loss_fn = every_loss(6)[name]
    network = _network()
    (batch,) = training_batches(SHAPES, 10, seed=0, epoch=0, shard=Shard())
    before = float(loss_fn(network.eval()(batch.images), batch.labels).detach())
    # One is enough for all but the flip loss: its value is the true IoU loss, which jumps.
    train_epoch(network, [batch] * 10, loss_fn, torch.optim.SGD(network.parameters(), lr=0.05), CPU)
    assert float(loss_fn(network.eval()(batch.images), batch.labels).detach()) < before


def test_an_epoch_returns_the_mean_loss_of_its_steps() -> None:
    network = _network()[:1]  # type: ignore[index]
    batches = list(training_batches(SHAPES, 5, seed=0, epoch=0, shard=Shard()))
    frozen = torch.optim.SGD(network.parameters(), lr=0.0)
    loss_fn = CrossEntropyLoss()
    expected = [float(loss_fn(network(batch.images), batch.labels).detach()) for batch in batches]
    assert len(expected) == 2
    assert train_epoch(network, batches, loss_fn, frozen, CPU) == pytest.approx(sum(expected) / 2)


def test_gradients_of_earlier_steps_do_not_add_up() -> None:
    batches = list(training_batches(SHAPES, 5, seed=0, epoch=0, shard=Shard()))
    together, apart = _network()[:1], _network()[:1]  # type: ignore[index]
    for network, passes in ((together, [batches]), (apart, [batches[:1], batches[1:]])):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for some in passes:
            train_epoch(network, some, CrossEntropyLoss(), optimizer, CPU)
            optimizer.zero_grad()
    torch.testing.assert_close(list(together.parameters()), list(apart.parameters()))


class _Explodes(SegmentationLoss):
    """Cross-entropy that becomes ``value`` at step ``at``."""

    def __init__(self, value: float, at: int) -> None:
        super().__init__()
        self.value, self.steps_left, self.cross_entropy = value, at, CrossEntropyLoss()

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.steps_left -= 1
        loss: Tensor = self.cross_entropy(logits, labels)
        return loss if self.steps_left >= 0 else loss * self.value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_non_finite_loss_names_step_and_images_and_spares_the_weights(value: float) -> None:
    network = _network()
    batches = list(training_batches(SHAPES, 2, seed=0, epoch=0, shard=Shard()))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(
        NonFiniteLossError, match=f"step 2: loss {value}: .*{batches[2].names[0]}, {batches[2].names[1]}"
    ):
        train_epoch(network, batches, _Explodes(value, at=2), optimizer, CPU)
    assert all(bool(p.isfinite().all()) for p in network.parameters())


class _Greedy(nn.Module):
    """A layer for which more than ``limit`` images at a time are too many."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.limit:
            raise torch.OutOfMemoryError("tried to allocate 20 GiB")
        return images


class _Halfway(torch.optim.SGD):
    """Runs out of memory when it has changed some of the weights."""

    def step(self, closure: Any = None) -> Any:
        with torch.no_grad():
            self.param_groups[0]["params"][0].add_(1)
        raise torch.OutOfMemoryError("tried to allocate 20 GiB")


def test_out_of_memory_names_the_step_and_how_many_images_were_too_many() -> None:
    batches = list(training_batches(SHAPES, 5, seed=0, epoch=0, shard=Shard()))
    network = nn.Sequential(_Greedy(3), _network())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    message = "step 7: 5 images at a time: must fit into the memory of cpu: more micro_batches, .*: tried to allocate"
    with pytest.raises(torch.OutOfMemoryError, match=message):
        train_epoch(network, batches, CrossEntropyLoss(), optimizer, CPU, losses=[0.0] * 7)
    loss = train_epoch(network, batches, CrossEntropyLoss(), optimizer, CPU, micro_batches=2)
    assert math.isfinite(loss)


def test_the_error_does_not_hold_the_memory_that_was_too_little() -> None:
    (batch,) = training_batches(SHAPES, 10, seed=0, epoch=0, shard=Shard())
    first, network = nn.Conv2d(3, 3, 1), _Greedy(3)
    kept: list[weakref.ref[Tensor]] = []
    first.register_forward_hook(lambda module, args, output: kept.append(weakref.ref(output)))
    whole = nn.Sequential(first, network)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        train_epoch(whole, [batch], CrossEntropyLoss(), torch.optim.SGD(first.parameters(), lr=0.1), CPU)
    gc.collect()
    assert raised.value.__context__ is None and [each() for each in kept] == [None]


def test_a_step_that_ended_halfway_is_none() -> None:
    batches = list(training_batches(SHAPES, 5, seed=0, epoch=0, shard=Shard()))
    network, losses, ended = _network(), [0.5], list[int]()
    optimizer = _Halfway(network.parameters(), lr=0.1)
    settings: dict[str, Any] = {"losses": losses, "after_step": lambda: ended.append(1)}
    with pytest.raises(torch.OutOfMemoryError, match="step 1: 5 images at a time"):
        train_epoch(network, batches, CrossEntropyLoss(), optimizer, CPU, **settings)
    assert losses == [0.5] and ended == []


def test_an_epoch_is_continued_with_the_losses_it_had() -> None:
    network = _network()[:1]  # type: ignore[index]
    batches = list(training_batches(SHAPES, 5, seed=0, epoch=0, shard=Shard()))
    frozen = torch.optim.SGD(network.parameters(), lr=0.0)
    whole: list[float] = []
    seen: list[int] = []
    mean = train_epoch(
        network, batches, CrossEntropyLoss(), frozen, CPU, losses=whole, after_step=lambda: seen.append(len(whole))
    )
    assert seen == [1, 2] and mean == sum(whole) / 2
    assert train_epoch(network, batches[1:], CrossEntropyLoss(), frozen, CPU, losses=whole[:1]) == mean
    assert train_epoch(network, [], CrossEntropyLoss(), frozen, CPU, losses=whole) == mean


def test_counts_of_two_shards_add_up_to_the_whole() -> None:
    network = _network()
    whole = _counts(network, Shard())
    halves = [_counts(network, Shard(rank, 2)) for rank in range(2)]
    assert torch.equal(halves[0] + halves[1], whole)
    for rank, half in enumerate(halves):
        assert half[rank::2].sum() > 0
        assert half[1 - rank :: 2].sum() == 0


def test_counts_lie_at_the_index_of_their_image_whatever_the_batch_size() -> None:
    network = _network()
    assert torch.equal(_counts(network, Shard(), batch_size=1), _counts(network, Shard(), batch_size=4))


def test_evaluation_switches_dropout_off_and_leaves_no_graph() -> None:
    network = _network().train()
    assert torch.equal(_counts(network, Shard()), _counts(network.train(), Shard()))


class _Oracle(nn.Module):
    """Logits that are right about every pixel of ``batch``."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        labels = torch.where(batch.labels == 255, 0, batch.labels)
        self.logits = nn.functional.one_hot(labels, 6).permute(0, 3, 1, 2).float()

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def test_counts_of_a_perfect_network_are_all_true_positives() -> None:
    (batch,) = evaluation_batches(SHAPES, 10, shard=Shard())
    counts = _counts(_Oracle(batch), Shard(), batch_size=10)
    assert pixel_accuracy(counts.sum(0)) == 1
    assert int(counts.sum()) == int((batch.labels != 255).sum())


def test_a_surrogate_is_untouched_by_training_with_it() -> None:
    loss_fn = NeuroIoULoss(surrogate().float())
    before = {name: value.clone() for name, value in loss_fn.state_dict().items()}
    network = _network()
    optimizer = torch.optim.AdamW([*network.parameters(), *loss_fn.parameters()], lr=0.1)
    train_epoch(network, training_batches(SHAPES, 5, seed=0, epoch=0, shard=Shard()), loss_fn, optimizer, CPU)
    for name, value in loss_fn.state_dict().items():
        assert torch.equal(value, before[name])


def test_half_precision_is_the_networks_and_not_the_losss() -> None:
    seen = []

    class Watching(CrossEntropyLoss):
        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            loss = super().forward(logits, labels)
            seen.append((logits.dtype, loss.dtype))
            return loss

    network = _network()
    batches = training_batches(SHAPES, 10, seed=0, epoch=0, shard=Shard())
    train_epoch(network, batches, Watching(), torch.optim.SGD(network.parameters(), lr=0.1), CPU, precision="bfloat16")
    assert seen == [(torch.bfloat16, torch.float32)]
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
