"""A study on a local Ray cluster: its wall time over the computing of its trials, and what shared pretraining saves.

A trial's computing is the time that its worker spends in it, as its record says; beside it stand process starts, Ray,
Optuna, the store and MLflow. Epochs are counted out so that a trial takes some seconds on any machine.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from neuroiou_study.orchestrate.study import run_study
from neuroiou_study.orchestrate.where import Where
from neuroiou_study.spec import StudySpec
from neuroiou_study.spec.budget import ResourcesSpec
from neuroiou_study.stages.backend import LocalWorker
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.news import Begun, Ended, News
from neuroiou_study.stages.pretrain import pretrain
from tests.benchmarks.figures import Figure

SMALL: dict[str, Any] = {
    "name": "study",
    "data": {"name": "shapes", "num_train": 32, "num_select": 8, "num_val": 8, "size": [32, 48]},
    "model": {"name": "unet", "width": 8, "levels": 2},
    "fit_surrogate": {"depth": 2, "epochs": 20},
    "gate": {"enabled": False},
    "controls": {"ce": {"name": "cross_entropy"}},
    "pruner": {"name": "none"},
}
AT_ONCE = 2
SHARED = {"finetune.lr": {"float": [1e-4, 1e-3], "log": True}}
# Without the file's own value, which the first trials of both arms would share.
OWN = {**SHARED, "pretrain.lr": {"float": [1.1e-3, 1.2e-3]}}


@dataclass
class Timed:
    """A study that was run: seconds of the whole, from the first trial's begin to the last's end, and in the trials."""

    whole: float
    searching: float
    computing: float
    trials: int

    def idle_per_trial(self, at_once: int) -> float:
        """Seconds a trial in which one of the places ``at_once`` did not compute."""
        return (self.searching * at_once - self.computing) / self.trials


@dataclass
class Clock:
    """An observer that notes when trials began and ended, and what they say of themselves."""

    moments: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __call__(self, news: News) -> None:
        if isinstance(news, Begun | Ended):
            self.moments.append(time.monotonic())
        if isinstance(news, Ended):
            self.seconds.append(news.record.seconds)


def measure(quick: bool) -> Iterator[Figure]:
    """Within a minute if ``quick``, else within six."""
    torch.set_num_threads(1)
    epoch = _epoch_seconds()
    yield from _one_worker(epoch, *((4, 2.0) if quick else (16, 5.0)))
    if not quick:
        yield from _groups(epoch, trials=2, seconds=5.0)
        yield from _sharing(epoch, trials=16, pretraining=20.0, seconds=2.0)


def _one_worker(epoch: float, trials: int, seconds: float) -> Iterator[Figure]:
    timed = _run(_study(trials, SHARED, 1, _epochs(seconds, epoch)))
    case = f"{trials} trials of {seconds:g} s, {AT_ONCE} at once"
    ideal = timed.computing / AT_ONCE
    # Few short trials cannot make up for the start of two processes.
    yield Figure(case, "search over computing", timed.searching / ideal, at_most=1.15 if trials >= 16 else None)
    yield Figure(case, "overhead a trial", timed.idle_per_trial(AT_ONCE), "s", at_most=1.0 if trials >= 16 else None)
    yield Figure(case, "computing a trial", timed.computing / timed.trials, "s")
    yield Figure(case, "whole command over computing", timed.whole / ideal)


def _groups(epoch: float, trials: int, seconds: float) -> Iterator[Figure]:
    timed = _run(_study(trials, SHARED, 1, _epochs(seconds, epoch), workers=2))
    case = f"{trials} trials of 2 workers each"
    yield Figure(case, "overhead a trial", timed.idle_per_trial(1), "s", at_most=10.0)


def _sharing(epoch: float, trials: int, pretraining: float, seconds: float) -> Iterator[Figure]:
    epochs = _epochs(pretraining, epoch), _epochs(seconds, epoch)
    # A group of two would take longer to start than it saves with a network this small.
    alone = ResourcesSpec(trials_at_once=AT_ONCE, shared_workers=1)
    shared, own = (
        _run(_study(trials, search, *epochs).model_copy(update={"resources": alone})) for search in (SHARED, OWN)
    )
    case = f"{trials} trials, pretraining {pretraining / seconds:g} × fine-tuning"
    yield Figure(case, "every trial pretrains, over once", own.whole / shared.whole, at_least=3.0)


def _study(
    trials: int, search: dict[str, Any], pretrain_epochs: int, finetune_epochs: int, workers: int = 1
) -> StudySpec:
    """Half of the trials are the learned loss's, half the control's."""
    changes = {
        "search": search,
        "pretrain": {"epochs": pretrain_epochs},
        "finetune": {"epochs": finetune_epochs},
        "budget": {"max_trials": trials // 2},
        "resources": {"workers": workers, "trials_at_once": AT_ONCE // workers},
    }
    return StudySpec.model_validate({**SMALL, **changes})


def _run(study: StudySpec) -> Timed:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        run_study(study, FolderStore(folder), Where(tracking_uri=f"sqlite:///{folder}/mlflow.db"), clock)
        whole = time.monotonic() - begin
    return Timed(whole, clock.moments[-1] - clock.moments[0], sum(clock.seconds), len(clock.seconds))


def _epochs(seconds: float, epoch: float) -> int:
    return max(1, round(seconds / epoch))


def _epoch_seconds() -> float:
    """Of an epoch of this network, alone and with one thread; the first is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        clock: list[float] = []
        worker = LocalWorker(listener=lambda _: bool(clock.append(time.monotonic())))  # type: ignore[func-returns-value]
        pretrain(_study(2, SHARED, 6, 1).sample({}), {}, Path(folder), worker)
    return (clock[-1] - clock[0]) / (len(clock) - 1)
