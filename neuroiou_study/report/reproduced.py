"""A figure or table of the paper as it was reproduced: ours beside the paper's, as a picture, a CSV and a JSON."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuroiou_study.report.paper import CLAIMS
from neuroiou_study.spec import StudySpec

Value = str | float | None
Row = Mapping[str, Value]
OURS, PAPER = "ours", "paper (cited)"
SMOKE = "smoke: not a result"
MODELS: Mapping[str, str] = {"fcn8s": "FCN-8s", "segnet": "SegNet", "unet": "U-Net"}


def network(study: StudySpec) -> str:
    """What the study's network is called."""
    return MODELS.get(study.model.name, study.model.name)


@dataclass(frozen=True)
class Setting:
    """What a target is to be made from: the studies behind it, by what they are for, and their data in words."""

    target: str
    data: str
    """For titles: the data set, and which one the paper has if it is another."""
    palette: str
    """The data set's short name, for its colours."""
    is_papers_data: bool
    is_smoke: bool = False
    is_by_category: bool = False
    """Is there a binary study for each class, under its name?"""
    studies: Mapping[str, StudySpec] = field(default_factory=dict)

    def title(self, subject: str) -> str:
        """``subject``, the data, and whether it was a smoke run."""
        return "\n".join((subject, f"data: {self.data}" + (f" · {SMOKE}" if self.is_smoke else "")))


@dataclass(frozen=True)
class Reproduction:
    """A target that has been made."""

    setting: Setting
    headline: str
    """What came out, in a line."""
    rows: Sequence[Row]
    """Of the CSV; equal keys in all of them."""
    ours: Mapping[str, Any]
    paper: Mapping[str, Any]
    """Numbers, *cited*; empty where the paper has none."""
    draw: Callable[[Path], None]
    missing: Sequence[str] = ()
    """What should be in it and is not: arms without a complete trial."""

    @property
    def target(self) -> str:
        return self.setting.target

    def as_document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "target": self.target,
            "data": self.setting.data,
            "smoke": self.setting.is_smoke,
            "headline": self.headline,
            "ours": self.ours,
            "paper": {"source": "cited", "claim": CLAIMS[self.target], **self.paper},
            "missing": list(self.missing),
            "studies": {name: study.identity for name, study in self.setting.studies.items()},
        }

    def write(self, folder: Path) -> list[Path]:
        """Write ``<target>.png``, ``.csv`` and ``.json`` into ``folder``, which is created; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        picture, table, document = (folder / f"{self.target}.{kind}" for kind in ("png", "csv", "json"))
        self.draw(picture)
        self._write_csv(table)
        document.write_text(json.dumps(self.as_document(), indent=2, allow_nan=False) + "\n")
        return [picture, table, document]

    def _write_csv(self, path: Path) -> None:
        constant = {"data": self.setting.data, "smoke": str(self.setting.is_smoke).lower()}
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*self.rows[0], *constant])
            writer.writeheader()
            writer.writerows({**row, **constant} for row in self.rows)
