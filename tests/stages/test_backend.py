import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from neuroiou_study.core.data.loading import Shard
from neuroiou_study.core.data.shapes import ShapesDataset
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages.backend import (
    CPU,
    GroupWorker,
    LocalBackend,
    LocalWorker,
    Progress,
    Pruned,
    Worker,
    best_device,
    keep_going,
)
from tests.stages.groups import member
from tests.stages.processes import run_together
from tests.stages.tiny import Heard

EPOCH = Progress("finetune", 0, 1, 2, {"select_miou": 0.5})


def test_a_local_worker_is_alone() -> None:
    worker, value = LocalWorker(), torch.arange(3)
    assert worker.shard == Shard(0, 1) and worker.is_first and worker.device == CPU
    assert worker.sum(value) is value
    assert worker.from_first(lambda: 3) == 3
    network = nn.Linear(1, 1)
    assert worker.prepare_model(network) is network


def test_a_listener_hears_an_epoch_and_may_end_the_trial() -> None:
    heard = Heard()
    LocalWorker(listener=heard).report(EPOCH)
    assert heard.epochs == [EPOCH]
    with pytest.raises(Pruned):
        LocalWorker(listener=Heard(stop=("finetune", 1))).report(EPOCH)
    LocalWorker().report(EPOCH)
    assert not keep_going(EPOCH)


def test_another_listener_makes_another_worker() -> None:
    worker, heard = LocalWorker(resources=ResourcesSpec(loader_workers=3)), Heard()
    other = worker.listening(heard)
    assert isinstance(other, LocalWorker) and other.resources.loader_workers == 3 and other.listener is heard
    assert worker.listener is keep_going


def test_another_listener_takes_nothing_else_away() -> None:
    said: list[str] = []
    callables = {"keep": lambda: said.append("keep"), "alive": lambda: said.append("alive"), "is_leaving": lambda: True}
    other = LocalWorker(**callables).listening(Heard())  # type: ignore[arg-type]
    other.keep()
    other.alive()
    assert said == ["keep", "alive"] and other.is_leaving()


def test_a_worker_is_told_to_go_or_stays() -> None:
    assert LocalWorker(is_leaving=lambda: True).must_leave()
    assert not LocalWorker().must_leave()
    worker = LocalWorker()
    worker.keep()
    worker.alive()


@pytest.mark.parametrize("loader_workers", [0, 1])
def test_every_batch_of_any_pass_is_a_sign_of_life(loader_workers: int) -> None:
    signs: list[int] = []
    resources = ResourcesSpec(loader_workers=loader_workers)
    loader = LocalWorker(resources=resources, alive=lambda: signs.append(1)).loader(ShapesDataset("train", 7, 8, 8))
    for number, _ in enumerate(loader.training_batches(2, seed=0, epoch=0), start=1):
        assert len(signs) == number
    assert len(list(loader.evaluation_batches(3))) == 3 and len(signs) == 3 + 3


def test_the_local_backend_runs_a_task_here(tmp_path: Path) -> None:
    seen: list[Worker] = []
    heard = Heard()
    LocalBackend().run(seen.append, 4, heard)
    (worker,) = seen
    assert worker.shard == Shard(0, 1) and worker.listener is heard and worker.device == best_device()


def in_a_group(index: int, barrier: Any, folder: Path) -> None:
    """Ask a group's worker for everything it offers, and write down the answers."""
    heard = Heard(stop=("finetune", 1))
    worker = GroupWorker(listener=heard)
    with member(index, folder):
        answers = {
            "shard": tuple(worker.shard),
            "is_first": worker.is_first,
            "from_first": worker.from_first(lambda: ["made by", index]),
            "int_sum": worker.sum(torch.tensor([index + 1, 10])).tolist(),
            "gradient": _gradient(worker, index),
            "weights": _averaged_gradient(worker, index),
            "pruned": _is_pruned(worker),
            "leaves": [_leaves(on, index) for on in ([], [0], [1], [0, 1])],
            "heard": len(heard.epochs),
        }
        (folder / f"answers-{index}.json").write_text(json.dumps(answers))


def _gradient(worker: Worker, index: int) -> list[float]:
    """Of (x₀ + x₁)², x₀ = 1, x₁ = 2, computed by both: each worker's loss is the whole, so it comes twice."""
    value = torch.tensor(float(index + 1), requires_grad=True)
    total = worker.sum(value) ** 2
    total.backward()
    assert value.grad is not None
    return [total.item(), value.grad.item()]


def _averaged_gradient(worker: Worker, index: int) -> float:
    network = nn.Linear(1, 1, bias=False)
    shared = worker.prepare_model(network)
    shared(torch.tensor([[float(index + 1)]])).sum().backward()
    assert network.weight.grad is not None
    return network.weight.grad.item()


def _leaves(told: list[int], index: int) -> bool:
    """Whether the group leaves when the machines of these workers are told to."""
    return GroupWorker(is_leaving=lambda: index in told).must_leave()


def _is_pruned(worker: Worker) -> bool:
    try:
        worker.report(EPOCH)
    except Pruned:
        return True
    return False


def test_a_group_of_two(tmp_path: Path) -> None:
    run_together(in_a_group, 2, tmp_path)
    answers = [json.loads((tmp_path / f"answers-{index}.json").read_text()) for index in (0, 1)]
    for index, answer in enumerate(answers):
        assert answer["shard"] == [index, 2] and answer["is_first"] == (index == 0)
        assert answer["from_first"] == ["made by", 0]
        assert answer["int_sum"] == [3, 20]
        assert answer["gradient"] == [9.0, 12.0]
        assert answer["weights"] == 1.5
        assert answer["pruned"] is True
        assert answer["leaves"] == [False, True, True, True]
    assert [answer["heard"] for answer in answers] == [1, 0]
