"""Layout and rendering by whatever Graphviz there is: the `dot` command, or the one that PyPI's pygraphviz contains.

Either runs in a process of its own, so that a layout that takes too long can be stopped and nothing it prints gets out.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from typing import Any

LIMIT = 20  # seconds for one layout
INSTALL = 'pip install "tinygrad_edu[viz]"'
_IN_PYTHON = """
import sys, pygraphviz
graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode("utf-8"))
sys.stdout.buffer.write(graph.draw(format=sys.argv[1], prog="dot", args=sys.argv[2]))
"""


class MissingEngineError(ImportError):
    """A package or program that drawing needs is not installed; says what to install."""


def load_graphviz() -> Any:
    """PyPI's `graphviz`, which writes DOT."""
    try:
        import graphviz
    except ImportError:
        raise MissingEngineError(f"drawing needs the Python package graphviz: {INSTALL}") from None
    return graphviz


def render(source: str, kind: str, dpi: int = 72) -> bytes:
    """Lay out a DOT source and draw it as svg, png or pdf.

    Raises MissingEngineError without a layout engine, TimeoutError after LIMIT seconds, RuntimeError where
    the engine fails.
    """
    try:
        done = subprocess.run(
            _command(kind, dpi), input=source.encode(), capture_output=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(
            f"the layout took more than {LIMIT} s: draw a smaller graph, or save the .dot file"
        ) from None
    if done.returncode or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(f"Graphviz could not draw the picture: {reason[-1]}")
    return done.stdout


def _command(kind: str, dpi: int) -> list[str]:
    options = f"-Gdpi={dpi}"
    program = shutil.which("dot")
    if program:
        return [program, f"-T{kind}", options]
    if importlib.util.find_spec("pygraphviz") is not None:
        return [sys.executable, "-c", _IN_PYTHON, kind, options]
    raise MissingEngineError(
        f"saving a picture needs a layout engine: {INSTALL} (or install Graphviz); .dot needs none"
    )
