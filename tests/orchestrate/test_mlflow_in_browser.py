"""MLflow's own pages of a study in a real browser: a person finds charts by section, colours, and comparisons there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.orchestrate.tracked import CONTROL, SURROGATE, Played, Shown, shown_after_telling
from tests.report.browser import DESKTOP, chromium
from tests.report.take_pictures import charts_page, compare_page
from tests.servers.mlflow import MlflowServer, mlflow_server

__all__ = ["chromium"]
SECTIONS = ("pretrain", "finetune", "evaluate", "val", "fidelity")
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def served(one: Played, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MlflowServer, Shown]]:
    folder = tmp_path_factory.mktemp("served")
    with mlflow_server(f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts")) as server:
        yield server, shown_after_telling(one, server.uri)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": DESKTOP, "height": 1000})
    made = context.new_page()
    made.set_default_timeout(PATIENCE_MS)
    yield made
    context.close()


def test_the_chart_page_has_a_section_for_each_kind_of_metric(
    page: Page, served: tuple[MlflowServer, Shown], tmp_path: Path
) -> None:
    server, view = served
    page.goto(charts_page(server.uri, view.experiment))
    for section in SECTIONS:
        expect(page.get_by_text(section, exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text(SURROGATE).first).to_be_visible(timeout=PATIENCE_MS)
    page.screenshot(path=tmp_path / "charts.png")


def test_the_compare_page_shows_two_trials_side_by_side(
    page: Page, served: tuple[MlflowServer, Shown], tmp_path: Path
) -> None:
    server, view = served
    runs = [view.runs[name].id for name in (SURROGATE, CONTROL)]
    page.goto(compare_page(server.uri, view.experiment, runs))
    expect(page.get_by_text("finetune.lr").first).to_be_visible(timeout=PATIENCE_MS)
    page.screenshot(path=tmp_path / "compare.png")
