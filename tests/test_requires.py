"""Tests that need PyTorch are skipped without it, but not where CI promised to install it."""

import sys

import pytest

from tests.requires import require_torch


@pytest.mark.parametrize(("promised", "outcome"), [("", pytest.skip.Exception), ("1", ImportError)])
def test_a_missing_torch(promised: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setenv("TINYGRAD_EDU_REQUIRE_TORCH", promised)
    with pytest.raises(outcome):
        require_torch()
