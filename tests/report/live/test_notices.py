"""What the image cache says reaches whoever runs a study."""

import json
import logging
from datetime import datetime
from pathlib import Path

import pytest

from neuroiou_study.core.data import cached as module
from neuroiou_study.core.data.cached import cached
from neuroiou_study.report.live.notices import notices
from tests.core.data.counted import counted, make_images


def test_progress_and_trouble_of_the_image_cache_are_printed_and_nothing_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUIET_SECONDS", -1.0)
    monkeypatch.setattr(module, "_THREADS", 20)
    dataset, written = counted(make_images(tmp_path / "data")), list[str]()
    (tmp_path / "[file]").write_text("")
    with notices(written.append):
        cached(dataset, tmp_path / "images")
        cached(dataset, tmp_path / "[file]" / "images")
    progress, trouble = written
    assert progress == "Data set train: 40 of 40 images decoded, once"
    assert trouble.startswith(f"image cache at {tmp_path}/[file]/images: ")
    logging.getLogger(module.__name__).warning("too late")
    assert len(written) == 2


def test_a_program_gets_warnings_as_json() -> None:
    written: list[str] = []
    with notices(written.append, in_json=True):
        logging.getLogger("neuroiou_study.orchestrate.tracking").warning("MLflow is away")
        logging.getLogger("neuroiou_study.orchestrate.tracking").info("not told")
    [event] = map(json.loads, written)
    assert (event["event"], event["message"]) == ("warning", "MLflow is away")
    assert datetime.fromisoformat(event["time"]).tzinfo is not None
