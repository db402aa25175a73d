"""The figure of docs/method.md, from what ``search_spaces/camvid_traps.yaml`` left in a store.

Usage, after that study has run: ``python docs/figures.py --store STORE``.
"""

import argparse
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import vl_convert
from PIL import Image

from neuroiou_study.report.charts.chart import VEGA_LITE, Chart
from neuroiou_study.report.charts.fidelity import fidelity_charts
from neuroiou_study.report.leaderboard import make_leaderboard
from neuroiou_study.spec import load_study
from neuroiou_study.stages.open_store import open_store
from neuroiou_study.stages.records import StudyRecords

HERE = Path(__file__).resolve().parent
STUDY = HERE.parent / "search_spaces" / "camvid_traps.yaml"
SHOWN = ("fidelity_r2", "fidelity_least_sign")
WIDTH, HEIGHT, COLOURS = 330, 300, 64


def main(arguments: Sequence[str]) -> int:
    """Draw what ``arguments`` ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=STUDY, metavar="FILE", help="another study, with a control ce")
    parser.add_argument("--store", default="./runs")
    parser.add_argument("--to", type=Path, default=HERE / "images", metavar="FOLDER")
    asked = parser.parse_args(arguments)
    try:
        drawing = traps(asked.study, asked.store)
    except RuntimeError as error:
        parser.error(str(error))
    asked.to.mkdir(parents=True, exist_ok=True)
    path = asked.to / "method-traps.png"
    drawn = Image.open(io.BytesIO(vl_convert.vegalite_to_png(drawing, vl_version=VEGA_LITE, scale=2)))
    drawn.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    sys.stdout.write(f"{path}\n")
    return 0


def traps(file: Path, at: str) -> dict[str, Any]:
    """Close fits and right signs, each against what fine-tuning reached; cross-entropy trained as long is the line.

    Raises RuntimeError if the study has not run.
    """
    study, store = load_study(file), open_store(at)
    records = list(StudyRecords(study, store))
    charts = {chart.name: chart for chart in fidelity_charts(study, store, records)}
    if not charts:
        raise RuntimeError(f"{at}: no results of {study.identity}: run {file.name} first")
    board = make_leaderboard(study, store, records)
    ce = next(row.select_miou for row in board.arms if row.arm == "ce")
    panels = [_panel(charts[name], ce) for name in SHOWN]
    return {"background": "white", "hconcat": panels, "config": {"font": "DejaVu Sans"}}


def _panel(chart: Chart, ce: float | None) -> Mapping[str, Any]:
    whole = chart.as_vega_lite()
    points = {"mark": whole["mark"], "encoding": whole["encoding"], "data": whole["data"]}
    rule = {"mark": {"type": "rule", "strokeDash": [5, 4]}, "data": {"values": [{"ce": ce}]}}
    line = {**rule, "encoding": {"y": {"field": "ce", "type": "quantitative"}}}
    return {"title": chart.title, "width": WIDTH, "height": HEIGHT, "layer": [points, line]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
