"""The documentation is a site without a warning, whose links lead somewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import REPOSITORY


class _Page(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.places = set[str](), set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.add(value)
            elif name == "id" and value:
                self.places.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` builds it; a warning is an error."""
    to = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-c", "docs", "-b", "html", "."]
    done = subprocess.run([*command, str(to)], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return to


def test_all_pages_are_there(site: Path) -> None:
    written = {path.stem for path in (REPOSITORY / "docs").glob("*.md")}
    assert {"quickstart", "method", "own_network_and_data", "faq", "extending"} <= written
    assert {path.stem for path in (site / "docs").glob("*.html")} == written


def test_every_link_inside_leads_somewhere(site: Path) -> None:
    pages = {path: _Page(path.read_text()) for path in site.rglob("*.html")}
    dead = [
        f"{path.relative_to(site)}: {link}"
        for path, page in pages.items()
        for link in page.links
        if not _leads_somewhere(path, link, pages)
    ]
    assert not dead


def _leads_somewhere(path: Path, link: str, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or link.startswith("data:"):
        return True  # of the world outside nothing is fetched
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.suffix != ".html" or not parts.fragment:
        return target.exists()
    return target in pages and unquote(parts.fragment) in pages[target].places


def test_the_reference_has_every_key_and_command(site: Path) -> None:
    keys = (site / "docs" / "reference" / "study_files.html").read_text()
    commands = (site / "docs" / "reference" / "command_line.html").read_text()
    for word in ("flip_gain_weight", "images_per_block", "hung_seconds", "trials_at_once"):
        assert word in keys
    for word in ("neuroiou-study run", "neuroiou-study cluster render", "--log-format", "NEUROIOU_STORE"):
        assert word in commands


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "SECURITY.md"])
def test_files_that_are_linked_are_in_the_repository(name: str) -> None:
    linked = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (REPOSITORY / name).read_text())
    assert [each for each in linked if not (REPOSITORY / each).exists()] == []
