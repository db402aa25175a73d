"""A study so small that a stage takes a fraction of a second."""

from pathlib import Path
from typing import Any

from neuroiou_study.spec import StudySpec, TrialSpec
from neuroiou_study.stages.backend import Progress

TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "shapes", "num_train": 8, "num_select": 4, "num_val": 4, "size": [16, 24]},
    "model": {"name": "unet", "width": 4, "levels": 1},
    "pretrain": {"epochs": 2, "batch_size": 4},
    "fit_surrogate": {"epochs": 5, "depth": 2, "width": 8},
    "gate": {"enabled": False},
    "finetune": {"epochs": 2, "batch_size": 4},
    "search": {"fit_surrogate.depth": {"int": [1, 4]}, "finetune.lr": {"float": [1e-4, 1e-2], "log": True}},
    "controls": {"ce": {"name": "cross_entropy"}},
}


def tiny_study(**changes: Any) -> StudySpec:
    """The tiny study with other values of its top-level keys."""
    return StudySpec.model_validate({**TINY, **changes})


def tiny_trial(**values: Any) -> TrialSpec:
    """The tiny study's base trial; ``finetune__lr`` stands for the dotted name ``finetune.lr``."""
    return tiny_study().sample({name.replace("__", "."): value for name, value in values.items()})


DIVERGING = tiny_study(
    finetune={"epochs": 3, "batch_size": 4, "lr": 10.0, "optimizer": {"name": "sgd", "weight_decay": 100.0}},
    search={"fit_surrogate.depth": {"int": [1, 4]}},
)
"""Its loss becomes NaN in fine-tuning, whatever the arm."""


class Heard:
    """A listener that remembers every epoch and stops a trial at the one it is told."""

    def __init__(self, stop: tuple[str, int] | None = None) -> None:
        self.epochs: list[Progress] = []
        self._stop = stop

    def __call__(self, progress: Progress) -> bool:
        self.epochs.append(progress)
        return (progress.stage, progress.epoch) == self._stop

    @property
    def names(self) -> list[str]:
        """``<stage> <epoch>`` of each, in order."""
        return [f"{progress.stage} {progress.epoch}" for progress in self.epochs]


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each file below ``folder`` was written, and what is in it."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}
