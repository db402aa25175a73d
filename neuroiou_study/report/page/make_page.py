"""The page: a template filled with sections, and the drawing library, style and data put into the same file."""

import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import jinja2
import vl_convert
from markupsafe import Markup

from neuroiou_study.report.charts.chart import VEGA_LITE, Chart
from neuroiou_study.report.leaderboard import Leaderboard, make_leaderboard
from neuroiou_study.report.page.section import Section
from neuroiou_study.report.page.sections import Importances, make_sections
from neuroiou_study.report.tables import verdict
from neuroiou_study.spec import StudySpec
from neuroiou_study.stages.files import write_whole
from neuroiou_study.stages.local_folder import local_folder
from neuroiou_study.stages.records import TrialRecord
from neuroiou_study.stages.store import Store

HERE = Path(__file__).parent
ROWS_SHOWN = 400
"""A table beside a chart ends there: a page is no archive."""


def make_page(
    study: StudySpec, store: Store, records: Sequence[TrialRecord], importances: Importances | None = None
) -> str:
    """The report of what is in ``store`` now, as the text of one HTML file."""
    board = make_leaderboard(study, store, records)
    return render(study.name, headline(board), make_sections(study, store, records, board, importances or {}))


def headline(board: Leaderboard) -> str:
    """The answer in a sentence, and why there is none where there is none."""
    if (answer := verdict(board)) is not None:
        return answer
    best = next((row for row in board.arms if row.loss == "neuroiou" and row.trial), None)
    if best is None or best.select_miou is None:
        return "No learned loss has a complete trial yet."
    found = f"{best.trial} is the best learned loss, with mIoU {best.select_miou:.4f} on select"
    if best.difference_to_ce is not None:
        found += f" and {best.difference_to_ce:+.4f} on val against cross-entropy trained as long"
    return f"{found}. Not confirmed on fresh seeds: this may be chance."


def render(name: str, answer: str, sections: Sequence[Section]) -> str:
    """The page with ``sections``. Raises nothing that a reader's words could cause: all of them are escaped."""
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["drawing"] = _drawing
    return environment.get_template("page.html.j2").render(
        name=name,
        answer=answer,
        sections=sections,
        rows_shown=ROWS_SHOWN,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        style=_inline("page.css"),
        library=_script(_library()),
        script=_inline("page.js"),
    )


def _library() -> str:
    """What draws the charts, for a browser. Putting it together takes two seconds (measured), so it is done once."""
    path = local_folder("library") / f"vega-lite-{VEGA_LITE}-of-{version('vl-convert-python')}.js"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    with contextlib.suppress(OSError):  # no room for it: it is put together again
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return text


def _inline(file: str) -> Markup:
    return Markup((HERE / file).read_text(encoding="utf-8"))  # noqa: S704  our own file


def _script(text: str) -> Markup:
    return Markup(text.replace("</script", "<\\/script"))  # noqa: S704  the library's own text


def _drawing(chart: Chart) -> Markup:
    """``chart`` as JSON that cannot end the element it stands in."""
    text = json.dumps(chart.as_vega_lite(), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))  # noqa: S704  escaped here
