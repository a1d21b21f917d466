"""What a test needs beyond NumPy: it is skipped without it, but not where CI promised it."""

import importlib
import os
from typing import Any

import pytest


def require_torch() -> Any:
    """PyTorch; the test is skipped where it is missing, unless TINYGRAD_EDU_REQUIRE_TORCH is set."""
    if os.environ.get("TINYGRAD_EDU_REQUIRE_TORCH"):
        return importlib.import_module("torch")
    return pytest.importorskip("torch")
