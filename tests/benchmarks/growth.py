"""A study of thousands of trivial trials through the whole service: what a trial costs early on and late.

One growing run: Ray Tune, Optuna with its pruner, the store and MLflow as in any study. A trial's stages are the real
ones on eight images of 8 × 8 pixels, some 40 ms. What a trial costs is read off in windows of trials. Wall time needs
an idle machine; processor time, of all processes that the study has, tells more where there is none.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from neuroiou_study.orchestrate.study import run_study
from neuroiou_study.orchestrate.where import Where
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.news import News
from tests.benchmarks.figures import Figure

TRIVIAL: dict[str, Any] = {
    "name": "growth",
    "data": {"name": "shapes", "num_train": 8, "num_select": 2, "num_val": 2, "size": [8, 8]},
    "model": {"name": "unet", "width": 4, "levels": 1},
    "pretrain": {"epochs": 1, "batch_size": 4},
    "fit_surrogate": {"depth": 2, "width": 4, "epochs": 1},
    "gate": {"enabled": False},
    "finetune": {"epochs": 2, "batch_size": 4},
    "search": {
        "fit_surrogate.depth": {"int": [1, 4]},
        "finetune.lr": {"float": [1e-5, 1e-1], "log": True},
        "finetune.optimizer.weight_decay": {"float": [1e-6, 1e-1], "log": True},
    },
}
WINDOWS = {100: (50, 150), 1000: (500, 1500), 5000: (4000, 5000)}
QUICK_WINDOWS = {20: (10, 30), 60: (40, 60)}
SAMPLE_SECONDS = 1.0


@dataclass(frozen=True)
class Sample:
    """Where a study stood: trials ended, wall and processor seconds, bytes of the driver and of the search."""

    ended: float
    seconds: float
    processor: float
    driver: float
    search: float


@dataclass(frozen=True)
class Cost:
    """Of a trial."""

    seconds: float
    processor: float  # seconds
    driver: float  # bytes that stay
    search: float


class Meter(threading.Thread):
    """Samples the processes of a study that this process drives, until it is stopped."""

    def __init__(self, store: Path) -> None:
        super().__init__(daemon=True, name="meter")
        self._store, self._done = store, threading.Event()
        self._processor: dict[int, float] = {}
        self.samples: list[Sample] = []

    def run(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self.samples.append(self._sample())

    def stop(self) -> None:
        self._done.set()
        self.join()

    def _sample(self) -> Sample:
        driver, search = psutil.Process(), 0
        for process in (driver, *driver.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                self._processor[process.pid] = times.user + times.system  # one that has ended keeps its last
                search += process.memory_info().rss if "ray::Search" in " ".join(process.cmdline()) else 0
        ended = sum(1 for _ in self._store.glob("studies/*/trials/*.json"))
        return Sample(ended, time.monotonic(), sum(self._processor.values()), driver.memory_info().rss, search)


def measure(quick: bool) -> Iterator[Figure]:
    """Within a minute or two if ``quick``; else 5,000 trials take ten minutes or more."""
    windows = QUICK_WINDOWS if quick else WINDOWS
    total = max(windows)
    samples, after = _grow(total)
    costs = {number: _cost(samples, *window) for number, window in windows.items()}
    first, *later = costs
    yield from _absolute(f"about trial {first:,} of {total:,}", costs[first])
    for number in later:
        case = f"about trial {number:,} of {total:,}"
        yield from _absolute(case, costs[number])
        yield from _relative(case, first, costs[number], costs[first], goal=None if quick else 1.3)
    yield Figure(f"{total:,} trials", "from the last trial to the command's end", after, "s")


def _absolute(case: str, cost: Cost) -> Iterator[Figure]:
    yield Figure(case, "a trial", cost.seconds, "s")
    yield Figure(case, "a trial, processor", cost.processor, "s")
    yield Figure(case, "memory of the driver a trial", cost.driver / 1024, "KB")
    yield Figure(case, "memory of the search a trial", cost.search / 1024, "KB")


def _relative(case: str, first: int, late: Cost, early: Cost, goal: float | None) -> Iterator[Figure]:
    memory = (late.driver + late.search) / (early.driver + early.search)
    yield Figure(case, f"a trial, over one about {first}", late.seconds / early.seconds, at_most=goal)
    yield Figure(case, f"processor, over one about {first}", late.processor / early.processor, at_most=goal)
    yield Figure(case, f"memory, over one about {first}", memory, at_most=goal)


def _grow(trials: int) -> tuple[list[Sample], float]:
    """The samples of a study of ``trials``, and the seconds from its last trial to its end."""
    study = StudySpec.model_validate({**TRIVIAL, "budget": {"max_trials": trials}})
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter(Path(folder))
        meter.start()
        run_study(study, FolderStore(folder), Where(tracking_uri=f"sqlite:///{folder}/mlflow.db"), _nobody)
        end = time.monotonic()
        meter.stop()
    last = next(sample for sample in meter.samples if sample.ended >= trials)
    return [sample for sample in meter.samples if sample.seconds <= last.seconds], end - last.seconds


def _cost(samples: list[Sample], begin: int, end: int) -> Cost:
    before, after = _nearest(samples, begin), _nearest(samples, end)
    trials = after.ended - before.ended
    return Cost(
        (after.seconds - before.seconds) / trials,
        (after.processor - before.processor) / trials,
        (after.driver - before.driver) / trials,
        (after.search - before.search) / trials,
    )


def _nearest(samples: list[Sample], ended: int) -> Sample:
    return min(samples, key=lambda sample: abs(sample.ended - ended))


def _nobody(_: News) -> None:
    """Looks at the study."""
