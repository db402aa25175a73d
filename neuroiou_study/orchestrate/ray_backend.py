"""A stage inside a Ray Train worker group: the Backend for a cluster.

Why not more of Ray Train: it starts the workers, joins them in a process group and ends them. What is resumed, and
from where, is the store's business, so that a restart finds it without Ray.
"""

import gc
import logging
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import ray
import ray.train
import ray.train.torch
import torch
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.exceptions import RayTrainError
from torch import distributed

from neuroiou_study.orchestrate.line import Line
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages.backend import GroupWorker, Leaving, LocalWorker, Worker, best_device
from neuroiou_study.stages.objects import is_outage

Task = Callable[[Worker], None]
_LOST_PARTNER = ("gloo", "NCCL", "Connection reset by peer", "Connection closed by peer", "Broken pipe")
"""What a worker's error says whose partner died. *Measured* with gloo; NCCL's is *cited*."""


class GroupFailedError(RuntimeError):
    """The task of a group failed; the message is the first worker's."""


class GroupCrashedError(GroupFailedError):
    """A worker of a group died, or the group could not be started: the task is not at fault."""


@dataclass(frozen=True)
class RayBackend:
    """Runs a task in a worker group of its own; ``folder``, which all nodes share, is for Ray Train's own notes."""

    resources: ResourcesSpec
    folder: Path

    def run(self, task: Task, num_workers: int, line: Line) -> None:
        """Call ``task`` in ``num_workers`` processes and wait.

        Raises GroupFailedError if one of them failed. Leaving, torch.OutOfMemoryError and what ``is_outage`` calls one
        are raised as they are: who gets them knows what to do.
        """
        if num_workers == 1:
            self._run_alone(task, line)
        else:
            self._run_group(task, num_workers, line)

    def _run_alone(self, task: Task, line: Line) -> None:
        """One worker needs no group: a Ray task starts in a fraction of the time."""
        resources = self.resources
        remote = ray.remote(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker, max_retries=0)
        try:
            ray.get(remote(_alone).remote(task, resources, line))
        except ray.exceptions.RayTaskError as error:
            _raise([error.cause], error)
        except ray.exceptions.RayError as error:
            _raise([error], error)

    def _run_group(self, task: Task, num_workers: int, line: Line) -> None:
        # Never an earlier run's name: Ray Train would take up its state, and the store has ours.
        name = uuid.uuid4().hex
        try:
            self._trainer(task, num_workers, line, name).fit()
        except ray.train.TrainingFailedError as error:
            _raise(_causes(error), error)
        finally:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _trainer(self, task: Task, num_workers: int, line: Line, name: str) -> TorchTrainer:
        return TorchTrainer(
            _in_worker,
            train_loop_config={"task": task, "line": line, "resources": self.resources},
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


def _causes(error: ray.train.TrainingFailedError) -> list[Exception]:
    """What the workers raised, by rank, or what kept the group from starting."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    causes = [getattr(failure, "cause", None) or failure for _, failure in sorted(failures.items())]
    return causes or [getattr(error, "controller_failure", error)]


def _raise(causes: Sequence[Exception], error: Exception) -> NoReturn:
    """Raise what best explains ``causes``: a worker that merely lost its partner says less than the one that failed."""
    for cause in causes:
        if isinstance(cause, Leaving | torch.OutOfMemoryError) or is_outage(cause):
            raise cause from error
    failures = [cause for cause in causes if not _is_crash(cause)]
    text = "; ".join(dict.fromkeys(f"{type(cause).__name__}: {cause}" for cause in failures or causes))
    raise (GroupFailedError if failures else GroupCrashedError)(text) from error


def _is_crash(cause: Exception) -> bool:
    lost_partner = isinstance(cause, RuntimeError) and any(text in str(cause) for text in _LOST_PARTNER)
    return lost_partner or isinstance(cause, ray.exceptions.RayError | RayTrainError | distributed.DistError)


def _in_worker(config: dict[str, object]) -> None:
    task, line, resources = config["task"], config["line"], config["resources"]
    assert callable(task) and isinstance(line, Line) and isinstance(resources, ResourcesSpec)
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    kind = GroupWorker if distributed.is_initialized() else LocalWorker
    try:
        with line.attended(kind(device=ray.train.torch.get_device(), resources=resources)) as worker:
            task(worker)
    finally:
        # A distributed network that outlives its process group can keep the worker from exiting.
        gc.collect()


def _alone(task: Task, resources: ResourcesSpec, line: Line) -> None:
    with line.attended(lone_worker(resources)) as worker:
        task(worker)


def lone_worker(resources: ResourcesSpec) -> LocalWorker:
    """This process as the only worker of a trial."""
    return LocalWorker(device=best_device(), resources=resources)
