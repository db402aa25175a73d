"""One run of MLflow that is only ever brought up to date, so that everything may be written to it again."""

import math
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric, Param, Run, RunTag
from numpy.typing import NDArray

from neuroiou_study.orchestrate.shown import ONCE, Series

LONGEST_PARAM = 6000
LONGEST_TAG = 5000
"""MLflow's limits (a tag's: of older servers); *cited*. What is longer is cut."""


class MlflowRun:
    """A run that takes what it does not have yet. MLflow's parameters cannot change and its metrics only grow."""

    def __init__(self, client: MlflowClient, run: Run, *, is_new: bool = False) -> None:
        self.id: str = run.info.run_id
        self.status: str = run.info.status
        self._client = client
        self._has_no_files = is_new
        self._params: dict[str, str] = dict(run.data.params)
        self._tags: dict[str, str] = dict(run.data.tags)
        self._latest: dict[str, float] = dict(run.data.metrics)
        self._steps: dict[str, dict[int, float]] = {}
        self._has_inputs = bool(run.inputs and run.inputs.dataset_inputs)

    def contradicts(self, params: Mapping[str, str]) -> bool:
        """Was this run made with other parameters?"""
        return any(self._params.get(name, value) != value for name, value in _cut(params, LONGEST_PARAM).items())

    def describe(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Set the parameters that are missing and the tags that differ."""
        new_params = {name: text for name, text in _cut(params, LONGEST_PARAM).items() if name not in self._params}
        new_tags = {name: text for name, text in _cut(tags, LONGEST_TAG).items() if self._tags.get(name) != text}
        if new_params or new_tags:
            params_of_run = [Param(name, text) for name, text in new_params.items()]
            self._client.log_batch(self.id, params=params_of_run, tags=[RunTag(*pair) for pair in new_tags.items()])
        self._params |= new_params
        self._tags |= new_tags

    def tag(self, name: str) -> str | None:
        """The text of a tag, if it is there."""
        return self._tags.get(name)

    def drop_tag(self, name: str) -> None:
        """The run has no tag ``name``."""
        if name in self._tags:
            self._client.delete_tag(self.id, name)
            del self._tags[name]

    def steps(self, name: str) -> Mapping[int, float]:
        """What the run has of the metric ``name``: step → value."""
        if name not in self._steps:
            history = self._client.get_metric_history(self.id, name) if name in self._latest else []
            self._steps[name] = {metric.step: metric.value for metric in sorted(history, key=lambda m: m.timestamp)}
        return self._steps[name]

    def log(self, metrics: Series) -> None:
        """Write the steps of ``metrics`` that are missing or have another value; what is not finite is left out."""
        now = int(time.time() * 1000)
        missing = {name: self._missing(name, steps) for name, steps in metrics.items()}
        new = [Metric(name, value, now, step) for name, steps in missing.items() for step, value in steps.items()]
        if new:
            self._client.log_batch(self.id, metrics=new)  # one call; MLflow's client divides what is too long for one
        for name, steps in missing.items():
            if steps:
                self._steps[name] = {**self.steps(name), **steps}
                self._latest[name] = self._steps[name][max(self._steps[name])]

    def upload(self, files: Mapping[str, Path]) -> None:
        """Upload the files that are missing or have another size."""
        sizes = {} if self._has_no_files else self._sizes({str(PurePosixPath(name).parent) for name in files})
        missing = {name: path for name, path in files.items() if sizes.get(name) != path.stat().st_size}
        if missing:
            self._upload(missing)

    def take_inputs(self, inputs: Sequence[DatasetInput]) -> None:
        """The run was made with these data sets, unless it has some already."""
        if not self._has_inputs:
            self._client.log_inputs(self.id, datasets=list(inputs))
            self._has_inputs = True

    def take_images(self, images: Iterable[tuple[str, int, NDArray[np.uint8]]]) -> None:
        """The run has each picture ``(H, W, 3)`` under its key and step, once."""
        # Its version decides whether "+" or "%" is between the parts of a name.
        names = [each.path.replace("%", "+") for each in self._client.list_artifacts(self.id, "images")]
        there = {name.partition("+timestamp")[0] for name in names}
        for key, step, pixels in images:
            if f"images/{key}+step+{step}" not in there:
                self._client.log_image(self.id, pixels, key=key, step=step, synchronous=True)

    def begin(self) -> None:
        """The run is RUNNING, also if it had ended."""
        if self.status != "RUNNING":
            self._client.update_run(self.id, status="RUNNING")
            self.status = "RUNNING"

    def end(self, status: str) -> None:
        """The run has ended as ``status``: FINISHED, FAILED or KILLED."""
        if self.status != status:
            self._client.set_terminated(self.id, status)
            self.status = status

    def _missing(self, name: str, steps: Mapping[int, float]) -> dict[int, float]:
        if set(steps) == {ONCE} and self._latest.get(name) == steps[ONCE]:
            return {}  # spares a call to the server for each of the many numbers that have no history
        known = self.steps(name)
        return {step: value for step, value in steps.items() if math.isfinite(value) and known.get(step) != value}

    def _sizes(self, folders: Iterable[str]) -> dict[str, int | None]:
        """File → bytes, of what is there in ``folders``."""
        listed = [self._client.list_artifacts(self.id, None if folder == "." else folder) for folder in folders]
        return {each.path: each.file_size for found in listed for each in found if not each.is_dir}

    def _upload(self, files: Mapping[str, Path]) -> None:
        self._has_no_files = False
        with tempfile.TemporaryDirectory() as folder:
            for name, path in files.items():
                link = Path(folder, name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
            self._client.log_artifacts(self.id, folder)


def _cut(texts: Mapping[str, str], length: int) -> dict[str, str]:
    return {name: text[:length] for name, text in texts.items()}
