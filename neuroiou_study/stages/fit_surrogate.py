"""Stage 3: the surrogate, fitted to D, and how good a loss it promises to be (paper eq. 3)."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from neuroiou_study.core import fitting
from neuroiou_study.core.fidelity import fidelity
from neuroiou_study.core.fitting import Fit, FitSettings, Rows, make_rows
from neuroiou_study.core.gains import Gains
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.core.surrogate import SurrogateConfig
from neuroiou_study.spec.trial import TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Worker
from neuroiou_study.stages.collect_pairs import PAIRS_FILE, Pairs, sums_name
from neuroiou_study.stages.files import disk_errors, write_json

FIDELITY_FILE = "fidelity.json"


def fit_surrogate(spec: TrialSpec, inputs: Mapping[str, Path], output: Path, worker: Worker) -> None:
    """Leave the surrogate as a loss and ``fidelity.json``, measured on images it did not see, in ``output``.

    Where D is wider than Θ_CE's own output, ``other_*`` is the fidelity on the other outputs of those images.
    """
    if not worker.is_first:
        return
    dataset = build.dataset(spec.data, "train")
    parts = rows_of(spec, load_file(inputs["collect_pairs"] / PAIRS_FILE), dataset.num_classes)
    fit = fitting.fit_surrogate(Rows.concatenated(parts), *wanted_of(spec, dataset.num_classes))
    save_fit(fit, parts, spec, dataset.ignore_index, output)


def wanted_of(spec: TrialSpec, num_classes: int) -> tuple[SurrogateConfig, FitSettings]:
    """The shape of the trial's surrogate and how it is fitted."""
    settings = build.fit_settings(spec.fit_surrogate, spec.seed)
    return build.surrogate_config(spec.fit_surrogate, num_classes), settings


def save_fit(fit: Fit, parts: list[Rows], spec: TrialSpec, ignore_index: int, output: Path) -> None:
    """Leave what the stage leaves of a ``fit`` to the rows of ``parts`` in ``output``."""
    with disk_errors(output):
        NeuroIoULoss(fit.surrogate, aggregate=spec.fit_surrogate.aggregate, ignore_index=ignore_index).save(output)
    report = {**_fidelity(fit, parts, spec.fit_surrogate.gains), "num_epochs": fit.num_epochs}
    write_json(output / FIDELITY_FILE, report)


def read_fidelity(folder: Path) -> dict[str, float]:
    """The numbers of ``fidelity.json`` in the complete ``folder``."""
    numbers: dict[str, float] = json.loads((folder / FIDELITY_FILE).read_text())
    return numbers


def rows_of(spec: TrialSpec, pairs: Pairs, num_classes: int) -> list[Rows]:
    """The rows of each of the K outputs in ``pairs``; an image has one number in all of them."""
    settings = spec.fit_surrogate
    sums = pairs[sums_name(build.surrogate_config(settings, num_classes).inputs)]
    size = settings.images_per_row if settings.aggregate == "batch" else 1
    return [
        make_rows(counts, output, images_per_row=size, generator=torch.Generator().manual_seed(spec.seed))
        for counts, output in zip(pairs["counts"], sums, strict=True)
    ]


def _fidelity(fit: Fit, parts: list[Rows], gains: Gains) -> dict[str, float]:
    images = fit.held_out.image.unique()
    own, *others = (part.select(torch.isin(part.image, images)) for part in parts)
    report = fidelity(fit.surrogate, own, gains)
    if others:
        elsewhere = fidelity(fit.surrogate, Rows.concatenated(others), gains)
        report |= {f"other_{name}": value for name, value in elsewhere.items()}
    return report
