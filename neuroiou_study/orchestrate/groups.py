"""Work in a worker group that is begun again when its machines fail: a task of all trials, or a trial of many workers.

Whatever the task has kept in the store is not made again.
"""

import logging
from collections.abc import Callable

import torch

from neuroiou_study.orchestrate import cluster
from neuroiou_study.orchestrate.line import Line
from neuroiou_study.orchestrate.ray_backend import GroupCrashedError, RayBackend
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import Leaving, Worker
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.trial import halved, may_halve

_log = logging.getLogger(__name__)


def run_with_retries(
    study: StudySpec, store: Store, task: Callable[[Worker], None], num_workers: int, line: Line
) -> None:
    """Call ``task`` in ``num_workers`` processes, as ``study.retry`` says.

    A machine that is taken away costs no retry. Raises GroupFailedError if the task fails, GroupCrashedError if its
    machines fail too often, and StoreUnavailableError (see ``is_outage``) if the store is away.
    """
    crashes, resources = 0, study.resources
    while True:
        try:
            return RayBackend(resources, cluster.ray_folder(store)).run(task, num_workers, line)
        except Leaving:
            _log.warning("a machine is taken away: its work goes on elsewhere")
        except torch.OutOfMemoryError as error:
            if not may_halve(study, resources):
                raise
            resources = halved(resources)
            _log.warning("%s: begun again with half the batch at a time", error)
        except GroupCrashedError as error:
            crashes += 1
            if crashes > study.retry.crashes:
                raise
            _log.warning("%s: begun again", error)
