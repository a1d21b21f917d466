"""A headless Chromium that reads pages and pictures from disk, and fails the test where they misbehave.

    def test_it(visit, tmp_path):
        page = visit(drawing.save(tmp_path / "x.html"), width=375, dark=True)

After the test, any error on the console and any request to the network is a failure.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.requires import require_browser

_FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
_FLAGS += ["--disable-component-update", "--disable-sync"]
_OWN = ("file:", "data:", "blob:", "about:")


class Watched(NamedTuple):
    """What a page did that it should not."""

    errors: list[str]
    requests: list[str]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One headless Chromium for all tests."""
    module, path = require_browser()
    with module.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=_FLAGS, chromium_sandbox=False)
        yield chromium
        chromium.close()


@pytest.fixture
def watched() -> Watched:
    """The errors and requests of the pages that a test visits; a test that provokes some may clear them."""
    return Watched([], [])


@pytest.fixture
def visit(browser: Any, watched: Watched) -> Iterator[Callable[..., Any]]:
    """visit(path, width=1280, height=800, dark=False, reduced=False, script=True, fragment="") opens a file."""
    contexts = []

    def open_file(
        path: Path,
        *,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        reduced: bool = False,
        script: bool = True,
        fragment: str = "",
    ) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if reduced else "no-preference",
            java_script_enabled=script,
        )
        contexts.append(context)
        context.set_default_timeout(60_000)  # a busy machine is no failure
        page = context.new_page()
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on("console", lambda note: watched.errors.append(note.text) if note.type in ("error", "warning") else None)
        page.on("request", lambda r: watched.requests.append(r.url) if not r.url.startswith(_OWN) else None)
        page.goto(path.resolve().as_uri() + fragment)
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert not watched.errors, f"errors on the console: {watched.errors}"
    assert not watched.requests, f"requests to the network: {watched.requests}"
