"""Drawing: a finished picture that can be shown, read as DOT and saved."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from html import escape
from typing import Any

from tinygrad_edu.autograd import Scope
from tinygrad_edu.tensor import Tensor
from viz.dot import dot
from viz.flags import find_flags
from viz.fold import fold
from viz.names import chosen
from viz.palette import DARK, LIGHT, THEMES
from viz.parts import Card, Fold, View
from viz.picture import Picture, labelled
from viz.render import render
from viz.text import printable
from viz.themes import styled
from viz.trace import gather, write

_MOST_PIXELS = 30e6  # of a .png
_FEWEST_CARDS = 4  # where so few still take too long, the layout engine is at fault
_COLOURS = "body {{ background: {paper}; color: {ink}; }}"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{colours}
body {{ margin: 0; font-family: Helvetica, Arial, sans-serif; }}
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
    depth: int | None = None,
    expand: Collection[str] = (),
    collapse: Callable[[Scope], bool] | None = None,
    direction: str = "TB",
    theme: str = "auto",
    title: str | None = None,
    budget: int | None = 60,
) -> Drawing:
    """Draw what `root` was computed from: one card per op, its chain rule with numbers, its value and its gradient.

    names: names for tensors, such as `locals()`, also through the modules in it; anything else in it is ignored.
    highlight: a tensor; the path of its gradient is drawn thick, and a card multiplies the factors along it.
    depth: how many levels of modules are drawn open; by default as many as fit about `budget` cards.
    expand: paths of modules to draw open whatever their depth, such as ["blocks.3"].
    collapse: a function of a module's scope (`.path`, `.label`) that tells whether to fold it.
    direction: "TB", values flow down, or "LR", to the right. theme: "light", "dark", or "auto",
    an .svg or .html that is what its reader prefers (other files are light). title: instead of the formula.
    budget: how many cards there may be, about; None: as many as there are.

    Gradients are shown once `backward()` has run; before, the picture has the values and the rules.
    Raises TypeError if root is no Tensor, ValueError for an unknown option, MissingEngineError without PyPI's graphviz.

    >>> from tinygrad_edu import Tensor
    >>> x = Tensor(3.0, requires_grad=True, name="x")
    >>> y = x * x
    >>> y.backward()
    >>> "3 + 3 = 6" in draw(y).source
    True
    """
    for option, value, allowed in (("direction", direction, ("TB", "LR")), ("theme", theme, ("auto", *THEMES))):
        if value not in allowed:
            raise ValueError(f"viz.draw: {option} is one of {', '.join(map(repr, allowed))}, got {value!r}")
    traced = gather(root, names, highlight)
    traced.flags = find_flags(traced, chosen(names or {}))

    def choose(depth: int | None, budget: int | None) -> View:
        view = fold(traced, depth=depth, expand=expand, collapse=collapse, budget=budget)
        write(_read(view), traced)
        return view

    heading = printable(title) if title is not None else traced.title
    return Drawing(choose(depth, budget), heading, direction, theme, fewer=lambda budget: choose(None, budget))


def _read(view: View) -> list[Card]:
    """The cards whose rules are read: those drawn, and those of the derivation."""
    paths = view.trace.derivation.paths if view.trace.derivation is not None else []
    derived = {factor.edge.target for path in paths for factor in path}
    return [card for card in view.trace.cards if card is view.shown[card] or card in derived]


def _steps(view: View) -> list[str]:
    """The backward pass in words: a line for each step, or for all steps that are folded into one card."""
    lines: dict[str, str] = {}
    for step, node in sorted(view.steps().items()):
        if isinstance(node, Fold):
            lines.setdefault(node.id, f"Step {step} and on: {view.name(node)}: {len(node.cards)} ops, folded")
        else:
            rules = "; ".join(edge.rule for edge in node.inputs if edge.rule)
            lines[node.id] = f"Step {step}: {node.formula}: {rules}"
    return list(lines.values())


class Drawing(Picture):
    """A picture of a graph. Notebooks show it; `save` writes it; `source` is its DOT."""

    suffixes = (*Picture.suffixes, ".dot", ".html")

    def __init__(
        self,
        view: View,
        title: str,
        direction: str = "TB",
        theme: str = "auto",
        fewer: Callable[[int], View] | None = None,
    ) -> None:
        """fewer: draws the same with fewer cards, where the layout of all of them takes too long."""
        self.title, self.direction, self.theme, self._fewer = title, direction, theme, fewer
        self._show(view)

    def _show(self, view: View) -> None:
        self.view, self.steps = view, _steps(view)
        palette = THEMES.get(self.theme, LIGHT)
        self.source = dot(view, direction=self.direction, palette=palette, heading=self.title)

    def _rendered(self, kind: str, dpi: int = 72) -> bytes:
        """Lay it out; where that takes too long, again with half as many cards, which the heading then says."""
        while True:
            try:
                return render(self.source, kind, dpi)
            except TimeoutError as error:
                budget = len(self.view.nodes) // 2
                if self._fewer is None or budget < _FEWEST_CARDS:
                    raise
                view = self._fewer(budget)
                view.note = f"{str(error).partition(':')[0]}: folded further; {view.note}"
                self._show(view)

    @cached_property
    def svg(self) -> str:
        """The picture as SVG, with a title that screen readers read."""
        svg = labelled(self._rendered("svg").decode("utf-8"), self.title)
        svg = svg.replace("</title>", f"</title>\n<desc>{escape(chr(10).join(self.steps))}</desc>", 1)
        return styled(svg, adapts=self.theme == "auto")

    @property
    def html(self) -> str:
        """The picture and its steps in words, on a page that needs nothing else."""
        palette, dark = THEMES.get(self.theme, LIGHT), DARK if self.theme == "auto" else None
        colours = _COLOURS.format(paper=palette.paper, ink=palette.ink)
        if dark is not None:
            colours += f"\n@media (prefers-color-scheme: dark) {{ {_COLOURS.format(paper=dark.paper, ink=dark.ink)} }}"
        steps = "\n".join(f"<li>{escape(step)}</li>" for step in self.steps) or "<li>not run</li>"
        return _PAGE.format(title=escape(self.title), svg=self.svg, steps=steps, colours=colours)

    def _encoded(self, kind: str) -> bytes:
        if kind in ("svg", "html", "dot"):
            return {"svg": lambda: self.svg, "html": lambda: self.html, "dot": lambda: self.source}[kind]().encode()
        return self._rendered(kind, self._dpi() if kind == "png" else 72)

    def _dpi(self) -> int:
        """144 dots per inch, or fewer if the bitmap would grow beyond bounds."""
        match = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', self.svg)
        points = float(match[1]) * float(match[2]) if match else 1.0
        return min(144, int(72 * math.sqrt(_MOST_PIXELS / points)))
