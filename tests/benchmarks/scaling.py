"""Two workers of one thread each over one: steps of the whole training loop, with the global batch grown alike.

Beside the efficiency it measures what the model of larger groups in ``docs/performance.md`` is made of: the bytes that
a step sends and the time that sending takes.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, distributed
from torch.multiprocessing.spawn import spawn

from neuroiou_study.core.data.loading import Shard, training_batches
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.core.models.unet import UNet
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.training import train_epoch
from neuroiou_study.stages.backend import GroupWorker, Worker
from tests.benchmarks.figures import Figure
from tests.benchmarks.loss import steep_surrogate

IMAGES = 4  # of each worker in a step
SIZE = (96, 128)


def measure(quick: bool) -> Iterator[Figure]:
    """Weak scaling: each worker has the same number of images, whatever the number of workers."""
    steps = 4 if quick else 20
    alone, together = _run(1, steps), _run(2, steps)
    case = f"U-Net 16, {IMAGES}×{SIZE[0]}×{SIZE[1]} a worker, gloo"
    yield Figure(case, "step of one worker, milliseconds", 1e3 * alone["step"], "ms")
    yield Figure(case, "efficiency of two workers", alone["step"] / together["step"], "")
    yield Figure(case, "parameters", together["parameters"], "")
    yield Figure(case, "bytes a worker sends in a step: gradients", 4 * together["parameters"], "B")
    yield Figure(case, "bytes a worker sends in a step: the loss", together["loss_bytes"], "B")
    yield Figure(case, "all-reduce of as many gradients, milliseconds", 1e3 * together["all_reduce"], "ms")


def _run(workers: int, steps: int) -> dict[str, float]:
    """What rank 0 of a group of processes measures."""
    with tempfile.TemporaryDirectory() as folder:
        spawn(_work, (workers, steps, folder), nprocs=workers)
        result: dict[str, float] = torch.load(Path(folder) / "result.pt", weights_only=True)
    return result


def _work(rank: int, workers: int, steps: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=workers)
    worker = GroupWorker()
    result = {**_training(worker, workers, steps), **_communication(worker)}
    if rank == 0:
        torch.save(result, Path(folder) / "result.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def _training(worker: Worker, workers: int, steps: int) -> dict[str, float]:
    """Seconds of a step, and the bytes that the loss adds up over the group in it, forward and backward."""
    torch.manual_seed(0)
    sent: list[int] = []

    def counted_sum(value: Tensor) -> Tensor:
        sent.append(value.nbytes * (2 if value.requires_grad else 1))
        return worker.sum(value)

    network = worker.prepare_model(UNet(6, width=16))
    loss_fn = NeuroIoULoss(steep_surrogate())
    loss_fn.sum_over_workers = counted_sum
    optimizer = torch.optim.AdamW(network.parameters())
    dataset = ShapesDataset("train", IMAGES * workers, *SIZE)
    shard = Shard(worker.shard.rank, workers)
    batch = next(training_batches(dataset, IMAGES * workers, seed=0, epoch=0, shard=shard))
    seconds = []
    for _ in range(steps + 2):
        begin = perf_counter()
        train_epoch(network, [batch], loss_fn, optimizer, worker.device)
        seconds.append(perf_counter() - begin)
    return {"step": median(seconds[2:]), "loss_bytes": sum(sent) / len(seconds)}


def _communication(worker: Worker) -> dict[str, float]:
    parameters = sum(each.numel() for each in UNet(6, width=16).parameters())
    gradients, seconds = torch.zeros(parameters), []
    for _ in range(12):
        begin = perf_counter()
        distributed.all_reduce(gradients)
        seconds.append(perf_counter() - begin)
    return {"parameters": parameters, "all_reduce": median(seconds[2:])}
