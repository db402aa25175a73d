"""A short calibration: what each stage of a study takes on this machine, from real stages with few epochs."""

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from neuroiou_study.spec import Scalar, StudySpec, TrialSpec
from neuroiou_study.spec.base import Spec
from neuroiou_study.spec.surrogate import GateSpec
from neuroiou_study.stages.backend import Listener, LocalWorker, Progress, best_device, keep_going
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pipeline import plan, run_stages
from neuroiou_study.stages.records import study_folder
from neuroiou_study.stages.store import Store

EPOCHS = 3
"""Of a training that is measured: the first has what happens once, each further one is like the quicker of the later
two, since a busy moment must not be multiplied; *assumed*."""
TRAININGS = ("pretrain", "finetune")


class StageSeconds(Spec):
    """What a stage of an arm takes one worker."""

    stage: str
    arm: str
    seconds: float
    """For as many epochs as the study wants."""
    epochs: int | None
    """So many; None of a stage that was run as it is."""


class Calibration(Spec):
    """What the stages of a study take the worker that measured them."""

    host: str
    device: str
    """A GPU's name, or ``cpu``."""
    load: float
    """Programs that ran there for each processor core, on average over the minute before."""
    begun: str
    """UTC, ISO 8601."""
    stages: list[StageSeconds]


def calibrate(study: StudySpec, store: Store, listener: Listener = keep_going) -> Calibration:
    """Run one trial of each arm for few epochs in this process, and leave what its stages take in ``store``.

    Its results are made in a folder of their own that is removed: they are no part of the study. All stages but the
    two trainings are run as they are; of a training whose epochs are searched, each end of the range is counted.
    Raises what a stage raises.
    """
    begun, load = datetime.now(UTC), os.getloadavg()[0] / (os.cpu_count() or 1)
    worker = LocalWorker(best_device(), listener, study.resources)
    with tempfile.TemporaryDirectory(prefix="neuroiou-calibration-") as folder:
        stages = [each for arm in study.arms for each in _arm(study, arm, FolderStore(Path(folder)), worker)]
    made = Calibration(
        host=socket.gethostname(),
        device=worker.device_name,
        load=load,
        begun=begun.isoformat(timespec="seconds"),
        stages=stages,
    )
    store.write_json(_document(study), made.model_dump(mode="json"))
    return made


def find_calibration(study: StudySpec, store: Store) -> Calibration | None:
    """The latest calibration of ``study`` in ``store``, or None."""
    document = store.read_json(_document(study))
    return None if document is None else Calibration.model_validate(document)


def _document(study: StudySpec) -> str:
    return f"{study_folder(study)}/calibration.json"


def _arm(study: StudySpec, arm: str, store: Store, worker: LocalWorker) -> Iterator[StageSeconds]:
    """The stages of an arm's first trial that no other arm has had."""
    whole = study.sample({}, arm=arm, seed=study.seeds[0])
    short = _shortened(whole)
    for stage, step in plan(short).items():
        if not store.has(step.address):
            seconds, ends = _timed(short, stage, store, worker)
            for epochs in _wanted_epochs(study, arm, whole, stage):
                more = 0.0 if epochs is None else (epochs - len(ends)) * _later_epoch(ends)
                yield StageSeconds(stage=stage, arm=arm, seconds=seconds + more, epochs=epochs)


def _shortened(spec: TrialSpec) -> TrialSpec:
    """``spec`` with as few epochs as tell what one takes, and keep the snapshots; its surrogate is not judged."""
    least = {"pretrain": max(EPOCHS, spec.pretrain.snapshots + 1), "finetune": EPOCHS}
    trainings = {
        stage: getattr(spec, stage).model_copy(update={"epochs": min(epochs, getattr(spec, stage).epochs)})
        for stage, epochs in least.items()
    }
    return spec.model_copy(update={**trainings, "gate": GateSpec(enabled=False)})


def _timed(spec: TrialSpec, stage: str, store: Store, worker: LocalWorker) -> tuple[float, list[float]]:
    """The seconds of a stage, and when each of its epochs ended."""
    ends: list[float] = []

    def hear(progress: Progress) -> bool:
        ends.append(time.monotonic())
        return worker.listener(progress)

    begin = time.monotonic()
    run_stages(spec, store, worker.listening(hear), [stage])
    return time.monotonic() - begin, ends


def _later_epoch(ends: list[float]) -> float:
    """The seconds of the quickest epoch that is not the first; 0 where there was one only."""
    return min((end - before for before, end in pairwise(ends)), default=0.0)


def _wanted_epochs(study: StudySpec, arm: str, spec: TrialSpec, stage: str) -> list[int | None]:
    if stage not in TRAININGS:
        return [None]
    bounds = study.ranges(arm).get(f"{stage}.epochs")
    ends: list[Scalar] = [] if bounds is None else [bounds.corners[0], bounds.corners[-1]]
    return [end for end in ends if isinstance(end, int)] or [getattr(spec, stage).epochs]
