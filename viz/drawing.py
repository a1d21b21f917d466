"""Drawing: a finished picture that can be shown, read as DOT and saved."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cached_property
from html import escape
from typing import Any

from tinygrad_edu.tensor import Tensor
from viz.dot import dot
from viz.palette import THEMES
from viz.picture import Picture, labelled
from viz.render import render
from viz.text import printable
from viz.trace import trace

_MOST_PIXELS = 30e6  # of a .png
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0; background: {paper}; color: {ink}; font-family: Helvetica, Arial, sans-serif; }}
main {{ padding: 1rem; overflow-x: auto; }}
svg {{ max-width: none; }}
li {{ margin: 0.3em 0; }}
</style>
</head>
<body>
<main>
{svg}
<details>
<summary>The backward pass, step by step, in words</summary>
<ol>
{steps}
</ol>
</details>
</main>
</body>
</html>
"""


def draw(
    root: Tensor,
    *,
    names: Mapping[str, Any] | None = None,
    highlight: Tensor | None = None,
    direction: str = "TB",
    theme: str = "light",
    title: str | None = None,
) -> Drawing:
    """Draw what `root` was computed from: one card per op, its chain rule with numbers, its value and its gradient.

    names: names for tensors, such as `locals()`, also through the modules in it; anything else in it is ignored.
    highlight: a tensor; the path of its gradient is drawn thick, and a card multiplies the factors along it.
    direction: "TB", values flow down, or "LR", to the right. theme: "light" or "dark". title: instead of the formula.

    Gradients are shown once `backward()` has run; before, the picture has the values and the rules.
    Raises TypeError if root is no Tensor, ValueError for an unknown option, MissingEngineError without PyPI's graphviz.

    >>> from tinygrad_edu import Tensor
    >>> x = Tensor(3.0, requires_grad=True, name="x")
    >>> y = x * x
    >>> y.backward()
    >>> "3 + 3 = 6" in draw(y).source
    True
    """
    for option, value, allowed in (("direction", direction, ("TB", "LR")), ("theme", theme, tuple(THEMES))):
        if value not in allowed:
            raise ValueError(f"viz.draw: {option} is one of {', '.join(map(repr, allowed))}, got {value!r}")
    traced = trace(root, names, highlight)
    heading = printable(title) if title is not None else traced.title
    source = dot(traced, direction=direction, theme=theme, heading=heading)
    steps = [
        f"Step {card.step}: {card.formula}: " + "; ".join(edge.rule for edge in card.inputs if edge.rule)
        for card in sorted((card for card in traced.cards if card.step), key=lambda card: card.step or 0)
    ]
    return Drawing(source, heading, steps, theme)


class Drawing(Picture):
    """A picture of a graph. Notebooks show it; `save` writes it; `source` is its DOT."""

    suffixes = (*Picture.suffixes, ".dot", ".html")

    def __init__(self, source: str, title: str, steps: list[str], theme: str = "light") -> None:
        self.source, self.title, self.steps, self.theme = source, title, steps, theme

    @cached_property
    def svg(self) -> str:
        """The picture as SVG, with a title that screen readers read."""
        return labelled(render(self.source, "svg").decode("utf-8"), self.title)

    @property
    def html(self) -> str:
        """The picture and its steps in words, on a page that needs nothing else."""
        palette = THEMES[self.theme]
        steps = "\n".join(f"<li>{escape(step)}</li>" for step in self.steps) or "<li>not run</li>"
        return _PAGE.format(title=escape(self.title), svg=self.svg, steps=steps, paper=palette.paper, ink=palette.ink)

    def _encoded(self, kind: str) -> bytes:
        if kind in ("svg", "html", "dot"):
            return {"svg": lambda: self.svg, "html": lambda: self.html, "dot": lambda: self.source}[kind]().encode()
        return render(self.source, kind, dpi=self._dpi() if kind == "png" else 72)

    def _dpi(self) -> int:
        """144 dots per inch, or fewer if the bitmap would grow beyond bounds."""
        match = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', self.svg)
        points = float(match[1]) * float(match[2]) if match else 1.0
        return min(144, int(72 * math.sqrt(_MOST_PIXELS / points)))
