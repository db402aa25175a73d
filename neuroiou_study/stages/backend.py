"""The seam between a stage and the machines it runs on.

A stage asks its :class:`Worker` for everything that depends on how many processes there are; it never knows whether
Ray started them. :class:`LocalWorker` is this process alone, :class:`GroupWorker` one of a torch.distributed group.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from neuroiou_study.core.data.dataset import SegmentationDataset
from neuroiou_study.core.data.loading import Loader, Shard
from neuroiou_study.spec.budget import ResourcesSpec

Result = TypeVar("Result")


class Pruned(Exception):  # noqa: N818  not an error: the search has seen enough of this trial
    """The listener asked a trial to stop."""


class Leaving(Exception):  # noqa: N818  not an error: the trial goes on elsewhere
    """This machine, or another of the group, was told to go; what is needed to go on has been kept."""


@dataclass(frozen=True)
class Progress:
    """One epoch of one stage."""

    stage: str
    seed: int
    epoch: int
    epochs: int
    metrics: dict[str, float]


CPU = torch.device("cpu")
Listener = Callable[[Progress], bool]
"""Hears of every epoch; returns whether the trial should stop."""


def keep_going(_: Progress) -> bool:
    """The listener that never stops a trial."""
    return False


def stay() -> bool:
    """Whether a machine is leaving that nobody ever tells to go."""
    return False


def do_nothing() -> None:
    """What a worker does to keep a checkpoint, or to say that it is alive, where nothing more is needed."""


@dataclass(frozen=True)
class Worker(ABC):
    """One process of the group that runs a stage."""

    device: torch.device = CPU
    listener: Listener = keep_going
    resources: ResourcesSpec = field(default_factory=ResourcesSpec)
    keep: Callable[[], None] = do_nothing
    """Makes what the stage's output folder holds outlive this machine; rank 0 calls it after every checkpoint."""
    alive: Callable[[], None] = do_nothing
    """Hears of every batch that this worker loads: a sign of life."""
    is_leaving: Callable[[], bool] = stay
    """Has this machine been told to go?"""
    account: str | None = None
    """The study that pays for the work: whose ledger it is in."""

    @property
    @abstractmethod
    def shard(self) -> Shard:
        """This worker's rank and the size of its group."""

    @property
    def is_first(self) -> bool:
        """Rank 0, the one that writes."""
        return self.shard.rank == 0

    @property
    def device_name(self) -> str:
        """What this worker computes on: a GPU's name, or ``cpu``."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type

    def loader(self, dataset: SegmentationDataset) -> Loader:
        """Loads this worker's part of ``dataset`` onto its device; every batch is a sign of life."""
        workers = self.resources.loader_workers
        return Loader(dataset, shard=self.shard, loader_workers=workers, device=self.device, on_batch=self.alive)

    def at_once(self, batch_size: int) -> int:
        """How many of ``batch_size`` images go through a network at a time where each is for itself."""
        return -(-batch_size // self.resources.micro_batches)

    def prepare_model(self, model: nn.Module) -> nn.Module:
        """``model``, as ``resources`` want it computed, on this worker's device; gradients averaged over the group."""
        model.to(self.device)
        if self.resources.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        if self.resources.compile_network:
            model.compile()
        return self._joined(model)

    @abstractmethod
    def _joined(self, model: nn.Module) -> nn.Module:
        """``model`` with its gradients averaged over the group."""

    @abstractmethod
    def sum(self, value: Tensor) -> Tensor:
        """``value`` added over the group, differentiable."""

    @abstractmethod
    def from_first(self, make: Callable[[], Result]) -> Result:
        """What ``make()`` returns on rank 0; the others wait for it and do not call theirs."""

    @abstractmethod
    def agree_on_buffers(self, model: nn.Module) -> None:
        """Give every worker rank 0's buffers: batch statistics are of each worker's own images."""

    def report(self, progress: Progress) -> None:
        """Tell the listener of an epoch. Raises Pruned, in every worker, if it wants the trial to stop."""
        if self.from_first(lambda: self.listener(progress)):
            raise Pruned

    def must_leave(self) -> bool:
        """Has the machine of any worker of the group been told to go? All ask together and get the same answer."""
        return bool(self.sum(torch.tensor(int(self.is_leaving()))))

    def listening(self, listener: Listener) -> "Worker":
        """This worker with another listener."""
        return replace(self, listener=listener)


class LocalWorker(Worker):
    """This process, alone."""

    @property
    def shard(self) -> Shard:
        return Shard(0, 1)

    def _joined(self, model: nn.Module) -> nn.Module:
        return model

    def sum(self, value: Tensor) -> Tensor:
        return value

    def from_first(self, make: Callable[[], Result]) -> Result:
        return make()

    def agree_on_buffers(self, model: nn.Module) -> None:
        pass


class GroupWorker(Worker):
    """A rank of the process group that torch.distributed has initialised."""

    @property
    def shard(self) -> Shard:
        return Shard(distributed.get_rank(), distributed.get_world_size())

    def _joined(self, model: nn.Module) -> nn.Module:
        return DistributedDataParallel(model)

    def sum(self, value: Tensor) -> Tensor:
        total: Tensor = _GroupSum.apply(value.to(self.device))  # type: ignore[no-untyped-call]
        return total.to(value.device)

    def from_first(self, make: Callable[[], Result]) -> Result:
        box = [make() if self.is_first else None]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]  # type: ignore[return-value]

    def agree_on_buffers(self, model: nn.Module) -> None:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)


class _GroupSum(torch.autograd.Function):
    """The sum over the group. Its gradient is summed too: every worker's loss depends on every worker's value."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        return _all_reduced(value)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _all_reduced(gradient)


def _all_reduced(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


class Backend(Protocol):
    """Where work runs: calls ``task`` in every worker of a group and waits for all of them."""

    def run(self, task: Callable[[Worker], None], num_workers: int, listener: Listener) -> None: ...


class LocalBackend:
    """Runs every task in this process, with one worker whatever was asked for."""

    def run(self, task: Callable[[Worker], None], num_workers: int, listener: Listener) -> None:
        task(LocalWorker(device=best_device(), listener=listener))


def best_device() -> torch.device:
    """The first GPU this process may use, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else CPU
