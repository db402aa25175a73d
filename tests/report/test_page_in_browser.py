"""The report in a real browser: it opens offline, fits a phone, and everybody can read it."""

import subprocess
import sys
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser

from tests.conftest import REPOSITORY
from tests.report.browser import DESKTOP, PHONE, chromium, opened
from tests.studies import call, write_study

__all__ = ["chromium"]
MAX_BYTES = 5_000_000
SECTIONS = ["leaderboard", "classes", "pictures", "search", "surrogate", "fidelity", "cost", "reproduce"]


@pytest.fixture(scope="module")
def page_of_a_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study that was really run."""
    folder = tmp_path_factory.mktemp("page")
    study = write_study(folder, confirm={"seeds": 2, "resamples": 200})
    done = call("run", study, "--store", folder / "runs", "--backend", "local")
    assert done.returncode == 0, done.stderr
    page = folder / "report.html"
    made = call("report", study, "--store", folder / "runs", "--html", page)
    assert made.returncode == 0, made.stderr
    assert str(page) in made.stdout
    return page


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_drawn_and_readable(chromium: Browser, page_of_a_study: Path, width: int, scheme: str) -> None:
    with opened(chromium, page_of_a_study, width, scheme) as seen:
        page = seen.page
        assert seen.said == []
        assert page.evaluate("document.body.dataset.drawn") == scheme
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        charts = page.locator("figure .drawing")
        assert charts.count() >= 12
        assert all(each.locator("svg").count() == 1 for each in charts.all())
        violations = Axe().run(page)
        assert violations.violations_count == 0, violations.generate_report()


def test_all_sections_are_there_and_reached_by_keyboard(chromium: Browser, page_of_a_study: Path) -> None:
    with opened(chromium, page_of_a_study, DESKTOP, "light") as seen:
        page = seen.page
        assert [each.get_attribute("id") for each in page.locator("section").all()] == SECTIONS
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        numbers = page.locator("#chart-classes summary")
        numbers.focus()
        page.keyboard.press("Enter")
        assert page.locator("#chart-classes tbody tr").first.is_visible()
        assert "the best learned loss on val" in page.locator(".answer").inner_text()


def test_it_prints_in_light_colours(chromium: Browser, page_of_a_study: Path) -> None:
    with opened(chromium, page_of_a_study, DESKTOP, "dark") as seen:
        seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        seen.page.wait_for_function("document.body.dataset.drawn == 'light'")


def test_the_figure_of_the_method_is_drawn_from_a_study(page_of_a_study: Path, tmp_path: Path) -> None:
    folder = page_of_a_study.parent
    draw = [sys.executable, "docs/figures.py", "--study", str(folder / "study.yaml"), "--to", str(tmp_path)]
    subprocess.run([*draw, "--store", str(folder / "runs")], cwd=REPOSITORY, check=True)
    assert Image.open(tmp_path / "method-traps.png").width > 1000
    none = subprocess.run(
        [*draw, "--store", str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert none.returncode == 2 and "run study.yaml first" in none.stderr


def test_it_is_small_enough_to_be_mailed(page_of_a_study: Path) -> None:
    assert page_of_a_study.stat().st_size < MAX_BYTES
