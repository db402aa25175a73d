"""A stage inside a Ray Train worker group: the Backend for a cluster.

Why not more of Ray Train: it starts the workers, joins them in a process group and ends them. What is resumed, and
from where, is the store's business, so that a restart finds it without Ray.
"""

import logging
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ray.train
import ray.train.torch
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from torch import distributed

from neuroiou_study.spec.study import ResourcesSpec
from neuroiou_study.stages.backend import GroupWorker, Listener, LocalWorker, Worker, best_device

Task = Callable[[Worker], None]


@dataclass(frozen=True)
class RayBackend:
    """Runs a task in a worker group of its own; ``folder``, which all nodes share, is for Ray Train's own notes."""

    resources: ResourcesSpec
    folder: Path

    def run(self, task: Task, num_workers: int, listener: Listener) -> None:
        """Call ``task`` in ``num_workers`` processes and wait. Raises what a worker raised, wrapped by Ray Train."""
        # Never an earlier run's name: Ray Train would take up its state, and the store has ours.
        name = uuid.uuid4().hex
        TorchTrainer(
            _in_worker,
            train_loop_config={"task": task, "listener": listener, "loader_workers": self.resources.loader_workers},
            scaling_config=self._scaling(num_workers),
            run_config=RunConfig(  # type: ignore[call-arg]  # Ray's stubs describe the V1 class
                name=name,
                storage_path=str(self.folder),
                failure_config=FailureConfig(max_failures=0),
                logging_config=LoggingConfig("ERROR"),
            ),
        ).fit()
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def _scaling(self, num_workers: int) -> ScalingConfig:
        per_worker = {"CPU": self.resources.cpus_per_worker}
        if self.resources.gpus_per_worker:
            per_worker["GPU"] = self.resources.gpus_per_worker
        return ScalingConfig(
            num_workers=num_workers, use_gpu=self.resources.gpus_per_worker > 0, resources_per_worker=per_worker
        )


def _in_worker(config: dict[str, object]) -> None:
    task, listener, loader_workers = config["task"], config["listener"], config["loader_workers"]
    assert callable(task) and callable(listener) and isinstance(loader_workers, int)
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    kind = GroupWorker if distributed.is_initialized() else LocalWorker
    task(kind(device=ray.train.torch.get_device(), listener=listener, loader_workers=loader_workers))


def lone_worker(resources: ResourcesSpec, listener: Listener) -> LocalWorker:
    """This process as the only worker of a trial."""
    return LocalWorker(device=best_device(), listener=listener, loader_workers=resources.loader_workers)
