"""Stage 3: the surrogate, fitted to D, and how good a loss it promises to be (paper eq. 3)."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from neuroiou_study.core import fitting
from neuroiou_study.core.fidelity import fidelity
from neuroiou_study.core.fitting import Rows, make_rows
from neuroiou_study.core.neuroiou import NeuroIoULoss
from neuroiou_study.spec.trial import TrialSpec
from neuroiou_study.stages import build
from neuroiou_study.stages.backend import Worker
from neuroiou_study.stages.collect_pairs import PAIRS_FILE, sums_name
from neuroiou_study.stages.store import write_json

FIDELITY_FILE = "fidelity.json"


def fit_surrogate(spec: TrialSpec, inputs: Mapping[str, Path], output: Path, worker: Worker) -> None:
    """Leave the surrogate as a loss and ``fidelity.json``, measured on images it did not see, in ``output``."""
    if not worker.is_first:
        return
    rows = _rows(spec, inputs["collect_pairs"] / PAIRS_FILE)
    fit = fitting.fit_surrogate(
        rows, build.surrogate_config(spec.fit_surrogate), build.fit_settings(spec.fit_surrogate, spec.seed)
    )
    ignore_index = build.dataset(spec.data, "train").ignore_index
    NeuroIoULoss(fit.surrogate, aggregate=spec.fit_surrogate.aggregate, ignore_index=ignore_index).save(output)
    report = fidelity(fit.surrogate, fit.held_out)
    write_json(output / FIDELITY_FILE, {**report, "num_epochs": fit.num_epochs})


def read_fidelity(folder: Path) -> dict[str, float]:
    """The numbers of ``fidelity.json`` in the complete ``folder``."""
    numbers: dict[str, float] = json.loads((folder / FIDELITY_FILE).read_text())
    return numbers


def _rows(spec: TrialSpec, path: Path) -> Rows:
    pairs = load_file(path)
    settings = spec.fit_surrogate
    return make_rows(
        pairs["counts"],
        pairs[sums_name(build.surrogate_config(settings).inputs)],
        images_per_row=settings.images_per_row if settings.aggregate == "batch" else 1,
        generator=torch.Generator().manual_seed(spec.seed),
    )
