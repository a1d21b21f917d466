"""The HTML-like labels of Graphviz: text, cells, rows and tables, with everything escaped in one place."""

from __future__ import annotations

from html import escape

from viz.palette import MONO
from viz.signs import clipped
from viz.text import printable

LONGEST = 200  # characters of a run


def run(content: str, size: float, color: str, *, bold: bool = False, mono: bool = False) -> str:
    """A run of text in one type, cut where it grows beyond all pictures."""
    face = f' face="{MONO}"' if mono else ""
    inner = escape(clipped(printable(content), LONGEST)) or " "
    inner = f"<b>{inner}</b>" if bold else inner
    return f'<font point-size="{size:g}" color="{color}"{face}>{inner}</font>'


def cell(content: str = "", **attributes: object) -> str:
    """A table cell around what is already written."""
    return f"<td{_written(attributes)}>{content}</td>"


def row(*cells: str) -> str:
    """A table row."""
    return f"<tr>{''.join(cells)}</tr>"


def table(*rows: str, **attributes: object) -> str:
    """A table without borders unless told otherwise."""
    plain: dict[str, object] = {"border": 0, "cellborder": 0, "cellspacing": 0, "cellpadding": 0}
    return f"<table{_written(plain | attributes)}>{''.join(rows)}</table>"


def _written(attributes: dict[str, object]) -> str:
    """Attributes as text. Graphviz reads backslashes in some of them, so they are doubled."""
    return "".join(
        f' {name}="{escape(printable(str(value))).replace(chr(92), chr(92) * 2)}"' for name, value in attributes.items()
    )
