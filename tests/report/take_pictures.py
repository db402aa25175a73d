"""Pictures of a report, and of MLflow's pages of the same study, for the documentation.

Usage: ``python -m tests.report.take_pictures REPORT.html FOLDER [--mlflow URI --study IDENTITY]``; URI is a server's.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mlflow import MlflowClient
from playwright.sync_api import Browser

from tests.report.browser import DESKTOP, PHONE, browser, opened

LOOKS = [
    ("desktop", DESKTOP, "light"),
    ("desktop", DESKTOP, "dark"),
    ("phone", PHONE, "light"),
    ("phone", PHONE, "dark"),
]
SECTIONS = ("leaderboard", "classes", "pictures", "search", "surrogate", "fidelity")
PATIENCE_MS = 60_000
WIDE = 1800
"""MLflow puts much beside its charts."""
MOST_COMPARED = 3
ASSISTANT_CLOSED = """
localStorage["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"] = "true";
localStorage["mlflow.assistant.panelOpen_v1"] = "false";
"""
"""It would take a quarter of the page."""


def main(arguments: Sequence[str]) -> int:
    """Take the pictures that ``arguments`` ask for."""
    parser = argparse.ArgumentParser(prog="python -m tests.report.take_pictures", description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mlflow", default="", metavar="URI")
    parser.add_argument("--study", default="", metavar="IDENTITY")
    asked = parser.parse_args(arguments)
    asked.folder.mkdir(parents=True, exist_ok=True)
    with browser() as chromium:
        _report(chromium, asked.report, asked.folder)
        if asked.mlflow:
            _mlflow(chromium, asked.mlflow, asked.study, asked.folder)
    return 0


def _report(chromium: Browser, report: Path, folder: Path) -> None:
    for name, width, scheme in LOOKS:
        with opened(chromium, report.resolve(), width, scheme) as seen:
            assert seen.said == [], seen.said
            seen.page.screenshot(path=folder / f"report-{name}-{scheme}.png")
            if (name, scheme) == ("desktop", "light"):
                for section in SECTIONS:
                    if (found := seen.page.locator(f"section#{section}")).count():
                        found.screenshot(path=folder / f"report-{section}.png")


def _mlflow(chromium: Browser, uri: str, study: str, folder: Path) -> None:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None, f"{study}: not in MLflow at {uri}"
    best = client.search_runs(
        [experiment.experiment_id], "tags.`neuroiou.kind` = 'trial'", order_by=["metrics.score DESC"]
    )
    page = chromium.new_context(viewport={"width": WIDE, "height": 1000}).new_page()
    page.add_init_script(ASSISTANT_CLOSED)
    page.set_default_timeout(PATIENCE_MS)
    page.goto(charts_page(uri, experiment.experiment_id))
    section = page.get_by_text(re.compile(r"^\s*finetune")).first
    section.scroll_into_view_if_needed()
    page.locator(".js-plotly-plot .main-svg").first.wait_for()
    page.screenshot(path=folder / "mlflow-charts.png")
    runs = [run.info.run_id for run in best[:MOST_COMPARED]]
    page.goto(compare_page(uri, experiment.experiment_id, runs))
    page.get_by_text("finetune.lr").first.wait_for()
    page.screenshot(path=folder / "mlflow-compare.png")


def charts_page(uri: str, experiment: str) -> str:
    """Where MLflow draws all runs of an experiment."""
    return f"{uri}/#/experiments/{experiment}/runs?compareRunsMode=CHART"


def compare_page(uri: str, experiment: str, runs: Sequence[str]) -> str:
    """Where MLflow sets runs side by side."""
    return f'{uri}/#/compare-runs?runs={json.dumps(list(runs))}&experiments=["{experiment}"]'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
