"""A stage inside a Ray Train worker group: the Backend for a cluster.

Why not more of Ray Train: it starts the workers, joins them in a process group and ends them. What is resumed, and
from where, is the store's business, so that a restart finds it without Ray.
"""

import gc
import logging
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ray
import ray.train
import ray.train.torch
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from torch import distributed

from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages.backend import GroupWorker, Listener, LocalWorker, Worker, best_device

Task = Callable[[Worker], None]


class GroupFailedError(RuntimeError):
    """A worker of a group raised or died; the message is the first worker's."""


@dataclass(frozen=True)
class RayBackend:
    """Runs a task in a worker group of its own; ``folder``, which all nodes share, is for Ray Train's own notes."""

    resources: ResourcesSpec
    folder: Path

    def run(self, task: Task, num_workers: int, listener: Listener) -> None:
        """Call ``task`` in ``num_workers`` processes and wait. Raises GroupFailedError if one of them failed."""
        if num_workers == 1:
            self._run_alone(task, listener)
        else:
            self._run_group(task, num_workers, listener)

    def _run_alone(self, task: Task, listener: Listener) -> None:
        """One worker needs no group: a Ray task starts in a fraction of the time."""
        resources = self.resources
        remote = ray.remote(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker)(_alone)
        try:
            ray.get(remote.remote(task, resources, listener))
        except ray.exceptions.RayTaskError as error:
            raise GroupFailedError(f"{type(error.cause).__name__}: {error.cause}") from error
        except ray.exceptions.RayError as error:
            raise GroupFailedError(f"{type(error).__name__}: {error}") from error

    def _run_group(self, task: Task, num_workers: int, listener: Listener) -> None:
        # Never an earlier run's name: Ray Train would take up its state, and the store has ours.
        name = uuid.uuid4().hex
        try:
            self._trainer(task, num_workers, listener, name).fit()
        except ray.train.TrainingFailedError as error:
            raise GroupFailedError(_reason(error)) from error
        finally:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _trainer(self, task: Task, num_workers: int, listener: Listener, name: str) -> TorchTrainer:
        return TorchTrainer(
            _in_worker,
            train_loop_config={"task": task, "listener": listener, "resources": self.resources},
            scaling_config=self._scaling(num_workers),
            run_config=RunConfig(  # type: ignore[call-arg]  # Ray's stubs describe the V1 class
                name=name,
                storage_path=str(self.folder),
                failure_config=FailureConfig(max_failures=0),
                logging_config=LoggingConfig("ERROR"),
            ),
        )

    def _scaling(self, num_workers: int) -> ScalingConfig:
        per_worker = {"CPU": self.resources.cpus_per_worker}
        if self.resources.gpus_per_worker:
            per_worker["GPU"] = self.resources.gpus_per_worker
        return ScalingConfig(
            num_workers=num_workers, use_gpu=self.resources.gpus_per_worker > 0, resources_per_worker=per_worker
        )


def _reason(error: ray.train.TrainingFailedError) -> str:
    """What the worker with the lowest rank raised; a worker that merely lost its partner says less."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    causes = [getattr(failure, "cause", None) or failure for _, failure in sorted(failures.items())]
    return "; ".join(dict.fromkeys(f"{type(cause).__name__}: {cause}" for cause in causes)) or str(error)


def _in_worker(config: dict[str, object]) -> None:
    task, listener, resources = config["task"], config["listener"], config["resources"]
    assert callable(task) and callable(listener) and isinstance(resources, ResourcesSpec)
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    kind = GroupWorker if distributed.is_initialized() else LocalWorker
    try:
        task(kind(device=ray.train.torch.get_device(), listener=listener, resources=resources))
    finally:
        # A distributed network that outlives its process group can keep the worker from exiting.
        gc.collect()


def _alone(task: Task, resources: ResourcesSpec, listener: Listener) -> None:
    task(lone_worker(resources, listener))


def lone_worker(resources: ResourcesSpec, listener: Listener) -> LocalWorker:
    """This process as the only worker of a trial."""
    return LocalWorker(device=best_device(), listener=listener, resources=resources)
