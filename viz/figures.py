"""Pictures of single tensors: a grid of numbers, a heat map, or a line of statistics; and what stands under them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from viz import text
from viz.html import cell, row, run, table
from viz.palette import NOTE, Palette, Style, mix, shade
from viz.text import FEW

POOLED = 16  # a heat map has at most so many rows and columns
_PER_LINE = 4


def picture(array: Any, color: str, style: Style) -> str:
    """Few elements as numbers, more as a heat map."""
    array = np.asarray(array)
    if array.size == 0:
        return run("empty", NOTE, style.palette.muted)
    matrix = array.reshape(-1, array.shape[-1] if array.ndim else 1)
    if array.size <= FEW:
        return _grid(matrix, color)
    if not style.detailed:
        return run(f"min {text.number(array.min())}  max {text.number(array.max())}", NOTE, color, mono=True)
    matrix = _pool(matrix)
    finite = np.abs(matrix[np.isfinite(matrix)])
    scale = float(finite.max(initial=0.0)) or 1.0
    p = style.palette
    return _squares([[shade(p, x / scale) if np.isfinite(x) else p.warning for x in line] for line in matrix], color)


def gate_picture(gate: np.ndarray, style: Style) -> str:
    """Which elements of a tensor pass (light) and which do not (dark)."""
    p = style.palette
    matrix = _pool(gate.reshape(-1, gate.shape[-1]))
    return _squares([[mix(p.closed, p.open, share) for share in line] for line in matrix], p.border)


def _squares(colors: list[list[str]], frame: str) -> str:
    """A heat map: one square for each colour."""
    height, width = len(colors), len(colors[0])
    side = max(7, min(14, 112 // max(height, width)))
    rows = (row(*(cell(fixedsize="true", width=side, height=side, bgcolor=x) for x in line)) for line in colors)
    size = {"width": width * side + 2, "height": height * side + 2}
    return table(*rows, border=1, color=frame, fixedsize="true", **size)


def _grid(matrix: np.ndarray, color: str) -> str:
    """Numbers in a frame, a long vector in several lines. The size is fixed: cells would stretch it."""
    if matrix.shape[0] == 1 and matrix.shape[1] > _PER_LINE:
        lines = [matrix[0, start : start + _PER_LINE] for start in range(0, matrix.shape[1], _PER_LINE)]
    else:
        lines = list(matrix)
    texts = [[text.number(x) for x in line] for line in lines]
    width = 6 * max(len(shown) for line in texts for shown in line) + 8
    rows = (
        row(*(cell(run(shown, NOTE, color, mono=True), align="right", width=width, height=17) for shown in line))
        for line in texts
    )
    size = {"width": width * len(lines[0]) + 4, "height": 17 * len(lines) + 4}
    return table(*rows, border=1, color=color, cellpadding=2, fixedsize="true", **size)


def _pool(matrix: np.ndarray) -> np.ndarray:
    """Block means, at most 16 x 16 of them."""
    for axis in (0, 1):
        length = matrix.shape[axis]
        if length > POOLED:
            starts = np.arange(POOLED + 1) * length // POOLED
            blocks = (matrix.take(range(*ends), axis) for ends in pairwise(starts))
            matrix = np.stack([block.mean(axis, dtype=np.float64) for block in blocks], axis)
    return matrix


def caption(array: Any, style: Style) -> str:
    """What stands under a picture: the norm of real numbers, and how many elements share a cell of it."""
    array = np.asarray(array)
    if array.size == 0:
        return ""
    rows, columns = array.size // array.shape[-1], array.shape[-1]
    pooled = style.detailed and array.size > FEW and max(rows, columns) > POOLED
    means = f"  {min(rows, POOLED)} × {min(columns, POOLED)} block means" if pooled else ""
    norm = f"norm {text.number(text.norm(array))}" if array.dtype.kind == "f" else ""  # class numbers have none
    return (norm + means).strip()


def legend(p: Palette) -> str:
    """The scale of the heat maps."""
    squares = [cell(fixedsize="true", width=9, height=9, bgcolor=shade(p, share / 5)) for share in range(-5, 6)]
    scale = table(row(*squares), fixedsize="true", width=99, height=9)
    left = cell(run("heat maps:  −", NOTE, p.muted), align="right", fixedsize="true", width=70, height=12)
    right = cell(run("+   scaled to each tensor’s largest |value|", NOTE, p.muted), align="left")
    return table(row(left, cell(scale), right), fixedsize="true", width=390, height=14, cellpadding=1)
