"""A few seconds of fuzzing guided by coverage; `python -m tests.fuzz.guided` goes on for longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.requires import require_fuzzer

ROOT = Path(__file__).parents[2]

for package in ("safetensors", "tokenizers"):
    pytest.importorskip(package)


def test_no_input_gets_past_the_loaders(tmp_path: Path) -> None:
    require_fuzzer()
    limits = ["-runs=2500", "-max_total_time=8", "-seed=1", f"-artifact_prefix={tmp_path}/"]
    command = [sys.executable, "-m", "tests.fuzz.guided", *limits]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "NEW " in done.stderr  # it found its way further than the good files
    assert "Done " in done.stderr
