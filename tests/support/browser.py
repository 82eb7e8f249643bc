"""A browser for the tests of the page, and what every visit must keep to.

Fixtures are in tests/web/conftest.py. ``OTOMATCH_BROWSER=required`` makes a missing browser a
failure, and ``OTOMATCH_SCREENSHOTS`` names the folder for pictures of the page's states.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

SCREENSHOTS = Path(
    os.environ.get("OTOMATCH_SCREENSHOTS", Path(__file__).parents[2] / "build" / "screenshots")
)
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
]
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_chromium() -> str:
    """Return the installed browser; skip the test if there is none, or fail if one is required."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found and find_spec("playwright"):
        return found
    missing = "the package playwright" if found else "chromium on the path"
    remedy = "pip install -e '.[dev]'" if found else "apt-get install chromium"
    message = f"the tests of the page need {missing}: {remedy}"
    if os.environ.get("OTOMATCH_BROWSER") == "required":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def launched() -> Iterator[Any]:
    """Run a headless browser, which only code inside `driving` may use.

    Playwright marks its event loop as running in this thread for as long as it is in use, so that
    asyncio.run() fails in every other test. The mark is removed while nobody drives the browser.
    """
    executable = find_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_ARGUMENTS)
        with _running_loop(None):
            yield browser
        browser.close()


@contextmanager
def driving(browser: Any) -> Iterator[None]:
    """Mark the browser's event loop as running again, as Playwright expects it."""
    with _running_loop(browser._loop):
        yield


@contextmanager
def _running_loop(loop: asyncio.AbstractEventLoop | None) -> Iterator[None]:
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)


class Visits:
    """Opens pages and notes what no page may do.

    Attributes:
        may_fail: True if responses of 400 and above, which browsers log, are part of the test.
    """

    def __init__(self, browser: Any, address: str) -> None:
        self.browser, self.address, self.may_fail = browser, address, False
        self.faults: list[str] = []
        self._contexts: list[Any] = []

    def open(
        self, path: str = "/", before: Callable[[Any], None] | None = None, **options: Any
    ) -> Any:
        """Open the page in a fresh profile; ``before`` prepares it, e.g. with routes."""
        context = self.browser.new_context(
            base_url=self.address, **{"viewport": {"width": 1280, "height": 800}, **options}
        )
        context.set_default_timeout(30_000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        page.on("request", self._request)
        if before:
            before(page)
        page.goto(path)
        return page

    def close(self) -> None:
        """Close all pages; fail if one did what it may not."""
        for context in self._contexts:
            context.close()
        assert not self.faults, "; ".join(self.faults)

    def _console(self, message: Any) -> None:
        if self.may_fail and message.text.startswith("Failed to load resource"):
            return
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        # The addresses of blobs stay within the page.
        if not request.url.startswith(("blob:" + self.address, self.address + "/")):
            self.faults.append(f"request to {urlsplit(request.url).netloc or request.url}")


class Held:
    """Requests that a page sent and that wait for `release`; give it to `page.route`."""

    def __init__(self) -> None:
        self.routes: list[Any] = []

    def __call__(self, route: Any) -> None:
        self.routes.append(route)

    def release(self) -> None:
        """Let the requests that were held so far go on to the server."""
        while self.routes:
            self.routes.pop(0).continue_()


def search(page: Any, text: str) -> None:
    """Type a query as a person would, and wait for its results."""
    page.keyboard.press("Escape")
    page.locator("#q").fill("")
    page.locator("#q").press_sequentially(text, delay=15)
    settled(page)


def until(page: Any, condition: str, it: object = None) -> None:
    """Wait for a condition in JavaScript; ``it`` stands for the argument."""
    page.wait_for_function(f"(it) => {condition}", arg=it)  # a function: the policy forbids eval


def eventually(page: Any, condition: Callable[[], object]) -> None:
    """Wait for a condition in Python that events of the page bring about."""
    for _ in range(3000):
        if condition():
            return
        page.wait_for_timeout(10)
    raise AssertionError("still waiting after 30 s")


def settled(page: Any) -> None:
    """Wait until the search is done and there is a result."""
    until(
        page,
        """!document.querySelector("#progress").classList.contains("busy")
        && !document.querySelector("#hits[aria-busy]")
        && document.querySelector(".hit:not(.skeleton)")""",
    )


def drawn(page: Any) -> None:
    """Wait until the page has drawn what happened so far: a frame, and the one after it."""
    page.evaluate(
        """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"""
    )


def still(page: Any) -> None:
    """Wait for the pictures in sight and for the end of all transitions."""
    drawn(page)
    until(
        page,
        """document.fonts.status === "loaded" && [...document.images].every((image) => {
            const box = image.getBoundingClientRect();
            return box.top > innerHeight || box.bottom < 0 || !image.checkVisibility()
                || image.complete;
        }) && document.getAnimations().every((motion) => motion.playState !== "running"
            || motion.effect.getComputedTiming().endTime === Infinity)""",
    )


def names(page: Any) -> list[str]:
    """Return the file names of the results, best first."""
    return page.locator(".hit .name").all_text_contents()


def keep(page: Any, name: str, **options: Any) -> None:
    """Keep a picture of the page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", **options)
