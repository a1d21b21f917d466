"""What a test needs beyond NumPy: it is skipped without it, but not where CI promised it."""

import importlib
import os
import shutil
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def require_torch() -> Any:
    """PyTorch; the test is skipped where it is missing, unless TINYGRAD_EDU_REQUIRE_TORCH is set."""
    if os.environ.get("TINYGRAD_EDU_REQUIRE_TORCH"):
        return importlib.import_module("torch")
    return pytest.importorskip("torch")


def require_fuzzer() -> Any:
    """The fuzzer atheris, which Linux has; skipped where it is missing, unless TINYGRAD_EDU_REQUIRE_FUZZER is set."""
    if os.environ.get("TINYGRAD_EDU_REQUIRE_FUZZER"):
        return importlib.import_module("atheris")
    return pytest.importorskip("atheris")


def require_browser() -> tuple[Any, str]:
    """Playwright and the path of a Chromium; skipped without them, unless TINYGRAD_EDU_REQUIRE_BROWSER is set."""
    promised = os.environ.get("TINYGRAD_EDU_REQUIRE_BROWSER")
    name = "playwright.sync_api"
    module = importlib.import_module(name) if promised else pytest.importorskip(name)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        reason = f"no browser: none of {', '.join(BROWSERS)} is installed (on Debian: apt-get install chromium)"
        pytest.fail(reason) if promised else pytest.skip(reason)
    return module, path
