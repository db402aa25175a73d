"""What a Ray cluster lends to workers, and what a step takes of its GPUs."""

import contextlib
import re
from collections.abc import Iterator

import ray
from ray.exceptions import RayError, RayTaskError

from neuroiou_study.orchestrate.check_machines import Memory, measure
from neuroiou_study.orchestrate.check_servers import require_listener
from neuroiou_study.orchestrate.cluster import connected, machines, machines_there
from neuroiou_study.orchestrate.machines import Machine
from neuroiou_study.spec import StudySpec

GPU_PATIENCE_SECONDS = 60.0
"""So long a GPU is waited for that others are using; *assumed*."""


class Cluster:
    """The cluster to which this process is connected."""

    def rooms(self) -> list[Machine]:
        return machines()

    def largest_step(self, study: StudySpec) -> Memory | None:
        """Measured on one of the GPUs that it has now. Raises RuntimeError if a step does not fit."""
        share = study.resources.gpus_per_worker
        if not any(room.gpus >= share for room in machines_there()):
            return None
        task = ray.remote(num_cpus=0, num_gpus=share, max_retries=0)(measure).remote(study)
        ready, _ = ray.wait([task], timeout=GPU_PATIENCE_SECONDS)
        if not ready:
            ray.cancel(task)
            return None
        return _result_of(task)


def _result_of(task: "ray.ObjectRef[Memory | None]") -> Memory | None:
    try:
        return ray.get(task)
    except RayTaskError as error:
        raise RuntimeError(str(error.cause)) from None
    except RayError as error:
        raise RuntimeError(f"one step on a GPU of the cluster: {error}: must run: see the logs of Ray") from None


@contextlib.contextmanager
def reached(address: str) -> Iterator[Cluster]:
    """The cluster at ``address``, to which this process is connected in the block.

    Raises OSError, *where: value: rule: remedy*, if it is not there or does not let us in.
    """
    listener = re.search(r"([\w.-]+):(\d+)$", address)
    if listener is not None:  # Ray would try for half a minute
        require_listener(listener[1], int(listener[2]), f"--address {address}")
    with contextlib.ExitStack() as connection:
        try:
            connection.enter_context(connected(address))
        except (RayError, RuntimeError, ValueError, OSError) as error:
            rule = "must be a Ray cluster of this version that lets us in: check it, RAY_AUTH_MODE and the token"
            raise ConnectionError(f"--address {address}: {error}: {rule}") from None
        yield Cluster()
