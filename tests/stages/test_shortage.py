"""A worker that runs out of memory tries once more with half of the batch at a time, then fails clearly."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.backend import LocalWorker
from neuroiou_study.stages.folder_store import FolderStore
from neuroiou_study.stages.records import Assignment, StudyRecords, TrialRecord
from neuroiou_study.stages.trial import run_trial
from tests.stages.tiny import tiny_study

NETWORK = """
import torch
from neuroiou_study.core.models.unet import UNet


class Hungry(UNet):
    '''A network whose device holds so many images while it trains.'''

    def __init__(self, num_classes, images):
        super().__init__(num_classes, width=4, levels=1)
        self.images = images

    def forward(self, x):
        if self.training and torch.is_grad_enabled() and len(x) > self.images:
            raise torch.OutOfMemoryError(f"{len(x)} images: out of memory")
        return super().forward(x)
"""


@pytest.fixture
def hungry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "hungry_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NEUROIOU_ALLOW_CODE", "1")
    yield "hungry_network:Hungry"
    sys.modules.pop("hungry_network", None)


def run(factory: str, tmp_path: Path, images: int, **changes: Any) -> TrialRecord:
    model = {"name": "custom", "factory": factory, "options": {"images": images}}
    study: StudySpec = tiny_study(model=model, controls={"ce": {"name": "cross_entropy"}}, **changes)
    assignment, store = Assignment(arm="ce", number=0, values={}), FolderStore(tmp_path / f"store-{images}")
    run_trial(study, assignment, store, LocalWorker(resources=study.resources))
    record = StudyRecords(study, store).find(assignment)
    assert record is not None
    return record


def test_half_the_batch_at_a_time_fits(hungry: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    batch = tiny_study().finetune.batch_size
    whole, halved = (run(hungry, tmp_path, images) for images in (batch, batch // 2))
    assert whole.state == halved.state == "complete"
    assert "begun again with half the batch at a time" in caplog.text
    for one, other in zip(whole.runs[0].history, halved.runs[0].history, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)


@pytest.mark.parametrize(("images", "retry"), [(0, {}), (2, {"halve_batch": False})])
def test_what_does_not_fit_then_fails_clearly(hungry: str, tmp_path: Path, images: int, retry: dict[str, Any]) -> None:
    record = run(hungry, tmp_path, images, retry=retry)
    assert record.state == "failed" and record.error is not None
    assert record.error.startswith("OutOfMemoryError: step 0: ") and "images at a time" in record.error
