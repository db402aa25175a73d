"""A small study file to break in one place at a time."""

from collections.abc import Callable
from pathlib import Path

import pytest

STUDY = """\
name: small
data: {name: shapes}
pretrain: {epochs: 3, lr: 3e-3}
finetune: {epochs: 2}
search:
  fit_surrogate.depth: {int: [1, 6]}
  finetune.lr: {float: [1e-4, 1e-2], log: true}
controls:
  ce: {name: cross_entropy}
"""

WriteStudy = Callable[..., Path]


@pytest.fixture
def write_study(tmp_path: Path) -> WriteStudy:
    """Writes the small study, with ``old`` replaced by ``new``, and returns its path."""

    def write(old: str = "", new: str = "") -> Path:
        assert old in STUDY
        path = tmp_path / "study.yaml"
        path.write_text(STUDY.replace(old, new, 1) if old else STUDY + new, encoding="utf-8")
        return path

    return write
