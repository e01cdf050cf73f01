"""A real browser, and pages of other origins."""

import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from app.main import PAGES
from tests.timeouts import WAIT_SECONDS

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session", autouse=True)
def _require_browser() -> None:
    missing = [
        what
        for what, is_there in (
            ("Chromium is not installed (Debian: apt-get install chromium)", CHROMIUM),
            ("the page is not built (make web)", (PAGES / "graphiql.html").is_file()),
        )
        if not is_there
    ]
    if missing and os.environ.get("CI"):
        pytest.fail(", ".join(missing))
    if missing:
        pytest.skip(", ".join(missing))


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Run the test's own browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """Open a window without history."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    yield context
    await context.close()


@pytest.fixture
async def page(context: BrowserContext) -> Page:
    """Open an empty page."""
    page = await context.new_page()
    page.set_default_timeout(1000 * WAIT_SECONDS)
    expect.set_options(timeout=1000 * WAIT_SECONDS)
    return page


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def other_origin(tmp_path: Path) -> Iterator[str]:
    """Serve an empty page from another origin and yield that origin."""
    (tmp_path / "index.html").write_text("<!doctype html><title>An application</title>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
