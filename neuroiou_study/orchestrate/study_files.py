"""The files of a whole study that MLflow keeps: its YAML, the report, every figure as a picture and as a table."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from neuroiou_study.orchestrate.importance import importances
from neuroiou_study.report.charts.chart import as_png
from neuroiou_study.report.leaderboard import Leaderboard
from neuroiou_study.report.page.make_page import headline, render
from neuroiou_study.report.page.section import Section
from neuroiou_study.report.page.sections import make_sections
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.records import TrialRecord
from neuroiou_study.stages.store import Store

FIGURES = "figures"


def write_study_files(
    study: StudySpec, store: Store, records: Sequence[TrialRecord], board: Leaderboard, folder: Path
) -> None:
    """Write ``study.yaml``, ``report.html`` and ``figures/<section>-<chart>.png`` and ``.csv`` into ``folder``."""
    (folder / "study.yaml").write_text(as_yaml(study), encoding="utf-8")
    sections = make_sections(study, store, records, board, importances(study, records))
    (folder / "report.html").write_text(render(study.name, headline(board), sections), encoding="utf-8")
    (folder / FIGURES).mkdir()
    for name, content in _figures(sections):
        (folder / FIGURES / name).write_bytes(content)


def as_yaml(study: StudySpec) -> str:
    """The complete study as a file that ``neuroiou-study run`` takes."""
    return yaml.safe_dump(study.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)


def _figures(sections: Sequence[Section]) -> Iterator[tuple[str, bytes]]:
    for section in sections:
        for chart in section.charts:
            yield f"{section.name}-{chart.name}.png", as_png(chart)
            yield f"{section.name}-{chart.name}.csv", chart.as_csv().encode()
        for row, pictures in enumerate(section.pictures, 1):
            for column, picture in enumerate(pictures.pictures, 1):
                head, _, content = picture.uri.partition(",")
                yield f"{section.name}-{row}-{column}.{_ending(head)}", base64.b64decode(content)


def _ending(head: str) -> str:
    """``png`` of ``data:image/png;base64``."""
    return head.partition("/")[2].partition(";")[0]
