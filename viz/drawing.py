"""Drawing: a finished picture that can be shown, read as DOT and saved."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from functools import cached_property, partial
from html import escape
from typing import Any

import numpy as np

from tinygrad_edu.autograd import Scope
from tinygrad_edu.nn import Module
from tinygrad_edu.tensor import Tensor
from viz.animated import animated
from viz.captions import LANGUAGES
from viz.dot import dot
from viz.flags import find_flags
from viz.fold import Folding
from viz.forward import output_of
from viz.frames import frames
from viz.opening import open_fused
from viz.palette import LIGHT, THEMES
from viz.parts import Fold, Trace, View
from viz.picture import Picture, labelled
from viz.render import render
from viz.stepper import Steps
from viz.themes import styled
from viz.trace import gather
from viz.wording import translate_source

_MOST_PIXELS = 30e6  # of a .png


def draw(
    root: Tensor | Module,
    *inputs: Any,
    names: Mapping[str, Any] | None = None,
    highlight: Tensor | None = None,
    depth: int | None = None,
    expand: Collection[str] = (),
    collapse: Callable[[Scope], bool] | None = None,
    fused: bool = True,
    direction: str = "TB",
    theme: str = "auto",
    title: str | None = None,
    budget: int | None = 60,
    lang: str = "en",
    rate: float = 0.01,
) -> Drawing:
    """Draw what `root` was computed from: one card per op, its chain rule with numbers, its value and its gradient.

    root: a tensor, such as the loss; or a model, called once with `inputs`, whose output is drawn then.
    names: names for tensors, such as `locals()`, also through the modules in it; anything else in it is ignored.
    highlight: a tensor; the path of its gradient is drawn thick, and a card multiplies the factors along it.
    depth: how many levels of modules are drawn open; by default as many as fit about `budget` cards.
    expand: paths of modules to draw open whatever their depth, such as ["blocks.3"]; also names of fused ops, such as
    "softmax", or of tensors that these made: they are opened into their definition in simpler ops.
    fused: False opens all fused ops.
    collapse: a function of a module's scope (`.path`, `.label`) that tells whether to fold it.
    direction: "TB", values flow down, or "LR", to the right. theme: "light", "dark", or "auto",
    an .svg or .html that is what its reader prefers (other files are light). title: instead of the formula.
    budget: how many cards there may be, about; None: as many as there are.
    lang: "en" or "zh", the language of words in the picture and on the page. rate: the size of the step of gradient
    descent that a page ends with.

    Gradients are shown once `backward()` has run; before, the picture has the values and the rules.
    Raises TypeError if root is neither, TypeError or ValueError for an option that is none, MissingEngineError
    without PyPI's graphviz.

    >>> from tinygrad_edu import Tensor
    >>> x = Tensor(3.0, requires_grad=True, name="x")
    >>> y = x * x
    >>> y.backward()
    >>> "3 + 3 = 6" in draw(y).source
    True
    """
    _check("viz.draw", direction, theme, lang, rate)
    _check_folding("viz.draw", depth, expand, collapse, budget)
    expand = [expand] if isinstance(expand, str) else list(expand)
    traced = _gathered(*output_of(root, inputs, names), expand, fused, highlight)
    folding = Folding(depth, expand, collapse, budget)
    return Drawing(Steps(traced, folding, title, direction=direction, theme=theme, lang=lang, rate=rate))


def steps(
    root: Tensor | Module,
    *inputs: Any,
    names: Mapping[str, Any] | None = None,
    depth: int | None = None,
    expand: Collection[str] = (),
    collapse: Callable[[Scope], bool] | None = None,
    fused: bool = True,
    direction: str = "TB",
    theme: str = "auto",
    title: str | None = None,
    budget: int | None = 60,
    lang: str = "en",
    rate: float = 0.01,
) -> Steps:
    """Step through what `root` was computed from, in a notebook or a browser: forward, backward, one step of descent.

    The same page as `viz.draw(root).save("x.html")`; options and errors as there.

    >>> from tinygrad_edu import Tensor
    >>> x = Tensor(3.0, requires_grad=True, name="x")
    >>> y = x * x
    >>> y.backward()
    >>> steps(y)
    <Steps: L = x · x>
    """
    _check("viz.steps", direction, theme, lang, rate)
    _check_folding("viz.steps", depth, expand, collapse, budget)
    expand = [expand] if isinstance(expand, str) else list(expand)
    traced = _gathered(*output_of(root, inputs, names), expand, fused)
    folding = Folding(depth, expand, collapse, budget)
    return Steps(traced, folding, title, direction=direction, theme=theme, lang=lang, rate=rate)


def _check(where: str, direction: str, theme: str, lang: str, rate: Any) -> None:
    options = (("direction", direction, ("TB", "LR")), ("theme", theme, ("auto", *THEMES)), ("lang", lang, LANGUAGES))
    for option, value, allowed in options:
        if value not in allowed:
            raise ValueError(f"{where}: {option} is one of {', '.join(map(repr, allowed))}, got {value!r}")
    if not isinstance(rate, (int, float, np.number)) or not 0 < rate < math.inf:
        raise ValueError(f"{where}: rate is the size of a step, above 0, such as 0.01, got {rate!r}")


def _check_folding(where: str, depth: Any, expand: Any, collapse: Any, budget: Any) -> None:
    for option, value, least in (("depth", depth, 0), ("budget", budget, 1)):
        if value is not None and not (isinstance(value, (int, np.integer)) and value >= least):
            raise ValueError(f"{where}: {option} is a whole number of at least {least}, or None, got {value!r}")
    if not isinstance(expand, Collection) or not all(isinstance(name, str) for name in expand):
        raise TypeError(f"{where}: expand is a name or a list of names, such as ['blocks.3'], got {expand!r}")
    if collapse is not None and not callable(collapse):
        raise TypeError(f"{where}: collapse is a function of a module's scope, got {collapse!r}")


def _gathered(
    root: Tensor, names: Mapping[str, Any], expand: list[str], fused: bool, highlight: Tensor | None = None
) -> Trace:
    """The trace with its fused ops opened and its flags."""
    traced = gather(root, names, highlight, opening=partial(open_fused, expand=expand, all_of_them=not fused))
    traced.flags = find_flags(traced, names)
    return traced


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
    """A picture of a graph. Notebooks show it; `save` writes it; `source` is its DOT.

    A name that ends in .html makes a page that steps through it, one in .animated.svg a picture that does so by itself.
    """

    suffixes = (*Picture.suffixes, ".dot", ".html", ".animated.svg")

    def __init__(self, page: Steps) -> None:
        """page: steps through the same graph."""
        self.title, self.page = page.title, page
        self._show(page.folding)

    def _show(self, folding: Folding) -> None:
        self.view = self.page.view(folding)
        self.steps = _steps(self.view)
        palette = THEMES.get(self.page.theme, LIGHT)
        source = dot(self.view, direction=self.page.direction, palette=palette, heading=self.title)
        self.source = translate_source(source, self.page.lang)

    def _rendered(self, kind: str, dpi: int = 72) -> bytes:
        """Lay it out; where that takes too long, again with half as many cards, which the heading then says."""
        while True:
            try:
                return render(self.source, kind, dpi)
            except TimeoutError as error:
                self._show(self.page.folding.halved(self.view, error))

    @cached_property
    def svg(self) -> str:
        """The picture as SVG, with a title that screen readers read."""
        svg = labelled(self._rendered("svg").decode("utf-8"), self.title)
        svg = svg.replace("</title>", f"</title>\n<desc>{escape(chr(10).join(self.steps))}</desc>", 1)
        return styled(svg, adapts=self.page.theme == "auto")

    @property
    def html(self) -> str:
        """The page that steps through the picture: `viz.steps`."""
        return self.page.html

    @property
    def animated(self) -> str:
        """The picture as SVG in which the backward pass happens, over and over; without script."""
        palette = THEMES.get(self.page.theme, LIGHT)
        return animated(self.svg, frames(self.view, lang=self.page.lang), palette, adapts=self.page.theme == "auto")

    def _encoded(self, kind: str) -> bytes:
        texts = {"svg": "svg", "html": "html", "dot": "source", "animated.svg": "animated"}
        if kind in texts:
            text: str = getattr(self, texts[kind])
            return text.encode()
        return self._rendered(kind, self._dpi() if kind == "png" else 72)

    def _dpi(self) -> int:
        """144 dots per inch, or fewer if the bitmap would grow beyond bounds."""
        match = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', self.svg)
        points = float(match[1]) * float(match[2]) if match else 1.0
        return min(144, int(72 * math.sqrt(_MOST_PIXELS / points)))
