"""What MLflow shows of a trial, computed from its record and the store: parameters, metrics, files. No MLflow here.

With several seeds everything that belongs to one stands under ``seed_<n>/``, and the plain name is the mean.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from neuroiou_study.core.neuroiou import LOSS_FILE
from neuroiou_study.core.surrogate import CONFIG_FILE, WEIGHTS_FILE
from neuroiou_study.spec import StudySpec, TrialSpec
from neuroiou_study.stages.backend import Progress
from neuroiou_study.stages.evaluate import METRICS_FILE, read_metrics
from neuroiou_study.stages.fit_surrogate import FIDELITY_FILE, read_fidelity
from neuroiou_study.stages.pipeline import STAGES, plan
from neuroiou_study.stages.records import Assignment, SeedRun, TrialRecord
from neuroiou_study.stages.store import Store
from neuroiou_study.stages.train_network import HISTORY_FILE, read_history
from neuroiou_study.stages.trial import result_folder, shared_stages
from neuroiou_study.stages.val import finals

Series = Mapping[str, Mapping[int, float]]
"""Metric name → step → value. Epochs are the steps; what is measured once has the step ONCE."""
ONCE = 0
_SPLITS = {"select": "evaluate/", "val": "val/"}
SURROGATE_FILES = (WEIGHTS_FILE, CONFIG_FILE, LOSS_FILE, FIDELITY_FILE)


def parameters(study: StudySpec, assignment: Assignment) -> dict[str, str]:
    """The complete trial under the dotted names of its YAML, without the stages that it does not have."""
    spec = assignment.specs(study)[0]
    unused = {stage.name for stage in STAGES} - set(plan(spec))
    document = spec.model_dump(mode="json", exclude=unused)
    if len(assignment.seeds(study)) > 1:
        del document["seed"]
        document["seeds"] = list(study.seeds)
    return dict(_flattened(document))


def epoch_metrics(seeds: Sequence[int], progress: Progress, known: Callable[[str], Mapping[int, float]]) -> Series:
    """The metrics of one epoch of one of ``seeds``; with the mean if ``known`` has the others' values at its names."""
    metrics: dict[str, Mapping[int, float]] = {}
    for measure, value in progress.metrics.items():
        name = f"{progress.stage}/{measure}"
        per_seed = {seed: {name: known(_seed_name(seed, name))} for seed in seeds if seed != progress.seed}
        metrics.update(_over_seeds({**per_seed, progress.seed: {name: {progress.epoch: value}}}))
    return metrics


def fresh_epoch_metrics(progress: Progress) -> Series:
    """The metrics of one epoch of a pretraining that only confirmations share."""
    return {
        _seed_name(progress.seed, f"{progress.stage}/{measure}"): {progress.epoch: value}
        for measure, value in progress.metrics.items()
    }


def trial_metrics(study: StudySpec, record: TrialRecord, store: Store) -> Series:
    """Everything that was measured in a trial that has ended."""
    specs = record.assignment.specs(study)
    on_val = dict(zip(study.seeds, finals(study, [record]).get(record.assignment.arm, ()), strict=False))
    per_seed = {
        run.seed: {**_seed_metrics(spec, run, store), **_final_metrics(on_val.get(run.seed), store)}
        for spec, run in zip(specs, record.runs, strict=True)
    }
    once = {"seconds": record.seconds} if record.score is None else {"seconds": record.seconds, "score": record.score}
    return {**_over_seeds(per_seed), **_once("", once)}


def shared_metrics(study: StudySpec, store: Store) -> Series:
    """The pretraining that all trials share, if they do."""
    if "pretrain" not in shared_stages(study):
        return {}
    specs = {seed: study.sample({}, seed=seed) for seed in study.seeds}
    return _over_seeds({seed: _pretraining(spec, store) for seed, spec in specs.items()})


def trial_files(study: StudySpec, record: TrialRecord, store: Store) -> dict[str, Path]:
    """The files of a trial that has ended, by the name under which MLflow shows them."""
    files: dict[str, Path] = {}
    for spec, run in zip(record.assignment.specs(study), record.runs, strict=True):
        found = _seed_files(spec, run, store)
        several = len(record.runs) > 1
        files |= {_seed_name(run.seed, name) if several else name: path for name, path in found.items()}
    return {name: path for name, path in files.items() if path.is_file()}


def _flattened(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _seed_name(seed: int, name: str) -> str:
    return f"seed_{seed}/{name}"


def _over_seeds(per_seed: Mapping[int, Series]) -> Series:
    """The metrics of all seeds, and the mean of those steps that every seed has."""
    if len(per_seed) == 1:
        return next(iter(per_seed.values()))
    metrics = {_seed_name(seed, name): steps for seed, shown in per_seed.items() for name, steps in shown.items()}
    for name in sorted({name for shown in per_seed.values() for name in shown}):
        histories = [shown.get(name, {}) for shown in per_seed.values()]
        common = set.intersection(*(set(history) for history in histories))
        metrics[name] = {step: fmean(history[step] for history in histories) for step in sorted(common)}
    return metrics


def _seed_metrics(spec: TrialSpec, run: SeedRun, store: Store) -> Series:
    surrogate = _stage_folder(run, "fit_surrogate", store)
    evaluation = _stage_folder(run, "evaluate", store)
    return {
        **_pretraining(spec, store),
        **_epochs("finetune", run.history),
        **(_once("fidelity/", read_fidelity(surrogate)) if surrogate else {}),
        **(_once(_SPLITS[spec.evaluate.split], _evaluation(evaluation)) if evaluation else {}),
        **_on_policy(run, store),
    }


def _on_policy(run: SeedRun, store: Store) -> Series:
    """The surrogate's fidelity where its own gradient has led the network."""
    folder = _stage_folder(run, "finetune", store)
    return _once("fidelity_after/", read_fidelity(folder)) if folder and (folder / FIDELITY_FILE).is_file() else {}


def _pretraining(spec: TrialSpec, store: Store) -> Series:
    folder = store.started(plan(spec)["pretrain"].address)
    return _epochs("pretrain", read_history(folder) if folder else [])


def _final_metrics(spec: TrialSpec | None, store: Store) -> Series:
    folder = result_folder(spec, "evaluate", store) if spec else None
    return _once("val/", _evaluation(folder)) if folder else {}


def _epochs(stage: str, history: list[dict[str, float]]) -> Series:
    names = {name for row in history for name in row if name != "epoch"}
    return {f"{stage}/{name}": {int(row["epoch"]): row[name] for row in history if name in row} for name in names}


def _once(prefix: str, values: Mapping[str, float | None]) -> Series:
    # MLflow takes letters, digits and a few signs in a name; a class of a user's data set may be called anything.
    return {
        prefix + re.sub(r"[^\w\-. :/]", "_", name): {ONCE: value} for name, value in values.items() if value is not None
    }


def _evaluation(folder: Path) -> dict[str, float | None]:
    metrics = read_metrics(folder)
    per_class = {f"iou/{name.replace('/', '_')}": value for name, value in metrics["iou_per_class"].items()}
    return {name: metrics[name] for name in ("miou", "miou_without_background", "pixel_accuracy")} | per_class


def _seed_files(spec: TrialSpec, run: SeedRun, store: Store) -> dict[str, Path]:
    surrogate = _stage_folder(run, "fit_surrogate", store)
    training = store.started(plan(spec)["finetune"].address)
    evaluation = _stage_folder(run, "evaluate", store)
    return {
        **({f"surrogate/{name}": surrogate / name for name in SURROGATE_FILES} if surrogate else {}),
        **({HISTORY_FILE: training / HISTORY_FILE} if training else {}),
        **({f"evaluate/{METRICS_FILE}": evaluation / METRICS_FILE} if evaluation else {}),
    }


def _stage_folder(run: SeedRun, stage: str, store: Store) -> Path | None:
    return store.find(run.stages[stage]) if stage in run.stages else None
