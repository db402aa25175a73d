"""A whole study in small, against the numbers that it had when they were last changed on purpose.

A refactor keeps them. Whoever means to change numbers writes them anew, and says so in the changelog::

    python -m tests.stages.test_golden
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroiou_study.stages.backend import LocalWorker
from neuroiou_study.stages.evaluate import read_metrics
from neuroiou_study.stages.files import write_json
from neuroiou_study.stages.fit_surrogate import read_fidelity
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.pipeline import run_stages
from neuroiou_study.stages.train_network import read_history
from tests.stages.tiny import tiny_study

GOLDEN = Path(__file__).parent / "golden" / "metrics.json"
TOLERANCE = 1e-3
"""Processors add in different orders."""
STUDY = tiny_study(
    data={"name": "shapes", "num_train": 16, "num_select": 8, "num_val": 8, "size": [24, 32]},
    pretrain={"epochs": 3, "batch_size": 4, "lr": 1e-2},
    fit_surrogate={"epochs": 60, "batch_size": 16, "depth": 2, "width": 16},
    finetune={"epochs": 2, "batch_size": 4, "lr": 3e-3},
    controls={
        "ce": {"name": "cross_entropy"},
        "weighted": {"name": "weighted_cross_entropy"},
        "soft": {"name": "soft_iou"},
        "soft_of_batch": {"name": "soft_iou", "aggregate": "batch"},
    },
)
Numbers = dict[str, float | None]


def numbers(arm: str, store: FolderStore) -> Numbers:
    """The numbers of an arm's base trial, evaluated on ``val``, under dotted names; None where there is none."""
    spec = STUDY.sample({"evaluate.split": "val"}, arm=arm)
    folders = {name: store.find(step.address) for name, step in run_stages(spec, store, LocalWorker()).items()}
    found = {name: folder for name, folder in folders.items() if folder is not None}
    assert len(found) == len(folders)
    metrics = {name: value for name, value in read_metrics(found["evaluate"]).items() if name != "counts_per_image"}
    histories = {name: read_history(found[name]) for name in ("pretrain", "finetune")}
    fidelity = {"fit_surrogate": read_fidelity(found["fit_surrogate"])} if "fit_surrogate" in found else {}
    return dict(_flat({**histories, **fidelity, "evaluate": metrics}))


def _flat(document: Any, name: str = "") -> Iterator[tuple[str, float | None]]:
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for key, part in items:
            yield from _flat(part, f"{name}.{key}".removeprefix("."))
    elif not isinstance(document, str):
        yield name, None if document is None or document != document else round(document, 6)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    return FolderStore(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("arm", STUDY.arms)
def test_the_numbers_are_as_they_were(arm: str, store: FolderStore) -> None:
    assert numbers(arm, store) == pytest.approx(golden()[arm], abs=TOLERANCE)


def test_every_arm_has_numbers_of_its_own() -> None:
    assert tuple(golden()) == STUDY.arms
    assert len({arm["finetune.1.loss"] for arm in golden().values()}) == len(STUDY.arms)
    assert len({arm["pretrain.2.loss"] for arm in golden().values()}) == 1


def golden() -> dict[str, Numbers]:
    document: dict[str, Numbers] = json.loads(GOLDEN.read_text())
    return document


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_json(GOLDEN, {arm: numbers(arm, FolderStore(folder)) for arm in STUDY.arms})
