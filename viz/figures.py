"""Pictures of single tensors: a grid of numbers, a heat map, or a line of statistics; and what stands under them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from viz import text
from viz.html import cell, row, run, table
from viz.looks import PLAIN, Look
from viz.palette import NOTE, Palette, Style, mix, shade
from viz.text import FEW

_PER_LINE = 4
_HEADS, _HEADS_PER_ROW = 12, 4  # so many squares are drawn at most
_ROOM, _ROOM_OF_HEAD = 112, 80  # points that a heat map may be high and wide


def picture(array: Any, color: str, style: Style, look: Look = PLAIN) -> str:
    """Few elements as numbers, more as a heat map."""
    array = np.asarray(array)
    if array.size == 0:
        return run("empty", NOTE, style.palette.muted)
    if array.size <= FEW:
        return _grid(_matrix(array), color)
    if not style.detailed:
        return run(f"min {text.number(array.min())}  max {text.number(array.max())}", NOTE, color, mono=True)
    if not look.heads:
        masked = None if look.masked is None else _matrix(look.masked)
        return _heat_map(_matrix(array), masked, None, color, style, look)
    largest = float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) or 1.0
    return _heads(array, largest, color, style, look)


def _matrix(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1] if array.ndim else 1)


def _heat_map(
    matrix: np.ndarray, masked: np.ndarray | None, scale: float | None, color: str, style: Style, look: Look
) -> str:
    """A square for each block of cells: grey where all of it is masked, else the mean of what is not."""
    p = style.palette
    means = pooled(matrix if masked is None else np.where(masked, 0, matrix), style.cells)
    covered = np.zeros(means.shape) if masked is None else pooled(masked, style.cells)
    means = means / np.where(covered < 1, 1 - covered, 1)
    finite = np.abs(means[np.isfinite(means)])
    largest = scale or float(finite.max(initial=0.0)) or 1.0

    def colour(x: float, grey: float) -> str:
        if grey == 1:
            return p.masked
        if not np.isfinite(x):
            return p.warning
        return mix(p.zero, p.weight, min(x / largest, 1)) if look.weights else shade(p, x / largest)

    room = _ROOM_OF_HEAD if look.heads else _ROOM
    return _squares([[colour(x, grey) for x, grey in zip(*lines)] for lines in zip(means, covered)], color, room)


def _heads(array: np.ndarray, scale: float, color: str, style: Style, look: Look) -> str:
    """A heat map for each leading index, all on one scale."""
    p, lead = style.palette, array.shape[:-2]
    indices = list(np.ndindex(lead))
    cells = []
    for index in indices[:_HEADS]:
        masked = None if look.masked is None else look.masked[index]
        shown = _heat_map(array[index], masked, scale, color, style, look)
        name = " ".join(map(str, index if lead[0] > 1 or len(lead) == 1 else index[1:]))
        cells.append(cell(table(row(cell(run(name, NOTE, p.muted))), row(cell(shown)))))
    rows = [row(*cells[start : start + _HEADS_PER_ROW]) for start in range(0, len(cells), _HEADS_PER_ROW)]
    if len(indices) > _HEADS:
        rows.append(row(cell(run(f"and {len(indices) - _HEADS} more", NOTE, p.muted), colspan=_HEADS_PER_ROW)))
    return table(*rows, cellspacing=6)


def gate_picture(gate: np.ndarray, style: Style) -> str:
    """Which elements of a tensor pass (light) and which do not (dark)."""
    p = style.palette
    shares = pooled(_matrix(gate), style.cells)
    return _squares([[mix(p.closed, p.open, share) for share in line] for line in shares], p.border, _ROOM)


def _squares(colors: list[list[str]], frame: str, room: int) -> str:
    """A heat map: one square for each colour."""
    height, width = len(colors), len(colors[0])
    side = max(room // 16, min(room // 8, room // max(height, width)))
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


def pooled(matrix: np.ndarray, cells: int) -> np.ndarray:
    """Block means, at most so many of them along each axis."""
    for axis in (0, 1):
        length = matrix.shape[axis]
        if length > cells:
            starts = np.arange(cells + 1) * length // cells
            blocks = (matrix.take(range(*ends), axis) for ends in pairwise(starts))
            matrix = np.stack([block.mean(axis, dtype=np.float64) for block in blocks], axis)
    return matrix


def caption(array: Any, style: Style, look: Look = PLAIN) -> str:
    """What stands under a picture: the norm of real numbers, and how its cells are to be read."""
    array = np.asarray(array)
    if array.size == 0:
        return ""
    words = [f"norm {text.number(text.norm(array))}"] if array.dtype.kind == "f" else []  # class numbers have none
    if array.size <= FEW or not style.detailed:
        return " ".join(words)
    *lead, columns = array.shape
    rows = lead[-1] if look.heads else array.size // columns
    if look.masked is not None:
        words = [f"norm {text.number(text.norm(np.where(look.masked, 0, array)))}, grey: masked"]
    if sum(length > 1 for length in lead) > 1 and not look.heads:
        words.append(f"{rows} rows")
    if max(rows, columns) > style.cells:
        words.append(f"{min(rows, style.cells)} × {min(columns, style.cells)} block means")
    return "  ".join(words)


def legend(p: Palette) -> str:
    """The scale of the heat maps."""
    squares = [cell(fixedsize="true", width=9, height=9, bgcolor=shade(p, share / 5)) for share in range(-5, 6)]
    scale = table(row(*squares), fixedsize="true", width=99, height=9)
    left = cell(run("heat maps:  −", NOTE, p.muted), align="right", fixedsize="true", width=70, height=12)
    right = cell(run("+   scaled to each tensor’s largest |value|", NOTE, p.muted), align="left")
    return table(row(left, cell(scale), right), fixedsize="true", width=390, height=14, cellpadding=1)
