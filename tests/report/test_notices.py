"""What the image cache says reaches whoever runs a study."""

import logging
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from neuroiou_study.core.data import cached as module
from neuroiou_study.core.data.cached import cached
from neuroiou_study.report.notices import notices
from tests.core.data.counted import counted, make_images


def test_progress_and_trouble_of_the_image_cache_are_printed_and_nothing_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUIET_SECONDS", -1.0)
    monkeypatch.setattr(module, "_THREADS", 20)
    dataset, written = counted(make_images(tmp_path / "data")), StringIO()
    (tmp_path / "[file]").write_text("")
    with notices(Console(file=written)):
        cached(dataset, tmp_path / "images")
        cached(dataset, tmp_path / "[file]" / "images")
    progress, trouble = written.getvalue().splitlines()
    assert progress == "Data set train: 40 of 40 images decoded, once"
    assert trouble.startswith(f"image cache at {tmp_path}/[file]/images: ")
    logging.getLogger(module.__name__).warning("too late")
    assert "late" not in written.getvalue()
