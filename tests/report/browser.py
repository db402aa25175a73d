"""A real browser that opens a file as a reader does: no network, at some width, in light or dark."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.servers.fixtures import need

DESKTOP, PHONE = 1280, 390


@dataclass
class Opened:
    """A page as it stands in the browser, and what the browser said of it."""

    page: Page
    said: list[str] = field(default_factory=list)


def missing_browser() -> str | None:
    """Why there is no browser to test with; None if there is one."""
    return None if shutil.which("chromium") else "chromium: not installed: apt-get install chromium"


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, while the block runs."""
    with sync_playwright() as playwright:
        # A container's root cannot have the browser's own sandbox.
        made = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One for all tests of a file."""
    need(missing_browser())
    with browser() as made:
        yield made


@contextmanager
def opened(chromium: Browser, path: Path, width: int, scheme: str) -> Iterator[Opened]:
    """The file at ``path``, with everything drawn, while the block runs."""
    context = chromium.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        offline=True,
    )
    made = Opened(context.new_page())
    made.page.on("console", lambda message: made.said.append(message.text))
    made.page.on("pageerror", lambda error: made.said.append(str(error)))
    made.page.on("requestfailed", lambda request: made.said.append(request.url))
    made.page.goto(path.as_uri())
    made.page.wait_for_function("document.body.dataset.drawn")
    yield made
    context.close()
