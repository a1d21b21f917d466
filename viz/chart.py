"""What all charts share: a canvas of matplotlib's in our colours, light and dark, and what becomes of it.

matplotlib is imported when a chart is drawn, not before.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np

from viz.arguments import got
from viz.palette import DARK, FORMULA, LIGHT, RULE, SANS, THEMES, TITLE, Palette
from viz.picture import Picture, labelled
from viz.render import INSTALL, MissingEngineError
from viz.text import printable
from viz.themes import pairs

FONT = "DejaVu Sans"  # comes with matplotlib: texts are measured alike everywhere, and it is wider than most
_MARGIN = 0.16  # inches around everything


class Chart(Picture):
    """A picture of numbers. Notebooks show it; `save` writes it as .svg, .png or .pdf; `title` says what it shows.

    With theme="auto" an .svg is light or dark as its reader prefers, and other files are light.
    Drawing raises MissingEngineError without matplotlib.
    """

    def __init__(
        self, title: str, subtitle: str, inches: tuple[float, float], draw: Callable[[Canvas], None], theme: str
    ) -> None:
        if theme not in ("auto", *THEMES):
            raise ValueError(f"theme is one of 'auto', {', '.join(map(repr, THEMES))}, got {theme!r}")
        if not isinstance(title, str):
            raise TypeError(f"title is a text, got {got(title)}")
        self.title, self.subtitle, self.theme = printable(title), printable(subtitle), theme
        self._inches, self._draw = inches, draw

    @cached_property
    def svg(self) -> str:
        """The picture as SVG. Equal charts are equal bytes; texts stay texts, to be found, copied and read aloud."""
        source = labelled(self._drawn("svg").decode("utf-8"), self.title)
        source = re.sub(rf"'{FONT}'[^;\"]*", SANS, source)
        return _adapting(source) if self.theme == "auto" else source

    @property
    def figure(self) -> Any:
        """The chart as a figure of matplotlib's, to go on with."""
        return self._figure([THEMES.get(self.theme, LIGHT)])

    def _encoded(self, kind: str) -> bytes:
        return self.svg.encode() if kind == "svg" else self._drawn(kind)

    def _drawn(self, kind: str) -> bytes:
        palettes = [LIGHT, DARK] if (self.theme, kind) == ("auto", "svg") else [THEMES.get(self.theme, LIGHT)]
        metadata = {"svg": dict.fromkeys(("Date", "Creator", "Format", "Type")), "pdf": {"CreationDate": None}}
        figure = self._figure(palettes)
        with _settings(palettes[0]), BytesIO() as file:
            figure.savefig(file, format=kind, dpi=150, metadata=metadata.get(kind))
            return file.getvalue()

    def _figure(self, palettes: list[Palette]) -> Any:
        with _settings(palettes[0]):
            canvas = Canvas(self._inches, palettes)
            canvas.head(self.title, self.subtitle)
            self._draw(canvas)
            return canvas.figure


class Canvas:
    """A figure of matplotlib's, and the colours to draw on it: `palette`; images in those of each of `palettes`."""

    def __init__(self, inches: tuple[float, float], palettes: list[Palette]) -> None:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        self.palettes, self.palette = palettes, palettes[0]
        self._layout = ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=_MARGIN)
        self.figure: Any = Figure(figsize=inches, layout=self._layout)
        self._images = 0

    def head(self, title: str, subtitle: str) -> None:
        """The title, and a line below it, in room of their own; the figure grows as wide as they need."""
        figure = self.figure
        width, height = figure.get_size_inches()
        texts = [figure.text(0, 0, title, size=TITLE, weight="bold")]
        if subtitle:
            texts.append(figure.text(0, 0, subtitle, size=RULE, color=self.palette.muted))
        widest = max(text.get_window_extent().width for text in texts) / figure.dpi
        width = max(width, widest + 2 * _MARGIN)
        figure.set_size_inches(width, height)
        for text, inches in zip(texts, (_MARGIN + 0.19, _MARGIN + 0.43)):
            text.set_position((_MARGIN / width, 1 - inches / height))
        self._layout.set(rect=(0, 0, 1, 1 - (_MARGIN + 0.1 + 0.22 * len(texts)) / height))

    def image(
        self, axes: Any, cells: np.ndarray | Callable[[Palette], np.ndarray], ramp: str = "", **options: Any
    ) -> Any:
        """An image on the axes: numbers on a ramp of colours, `sign`, `share` or `ink`; or what a palette makes it.

        Masked cells are grey. Returns matplotlib's object.
        """
        first = None
        for palette, theme in zip(self.palettes, ("light", "dark")):
            look = {"cmap": _ramp(palette, ramp)} if ramp else {}
            shown = cells(palette) if callable(cells) else cells
            drawn = axes.imshow(shown, interpolation="none", **look, **options)
            drawn.set_gid(f"{theme}-{self._images}")
            first = first or drawn
        self._images += 1
        return first

    def scale(self, image: Any, ramp: str, axes: list[Any], **options: Any) -> Any:
        """The scale of an image's colours, beside the axes."""
        bar = self.figure.colorbar(image, ax=axes, **options)
        bar.outline.set_visible(False)
        bar.solids.set_visible(False)
        low, high = image.get_clim()
        self.image(
            bar.ax, np.linspace(low, high, 64)[:, None], ramp, origin="lower", aspect="auto", extent=(0, 1, low, high)
        )
        return bar


def _ramp(palette: Palette, kind: str) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    ends = {
        "sign": [palette.negative, palette.zero, palette.positive],
        "share": [palette.paper, palette.value],
        "ink": [palette.paper, palette.ink],
    }[kind]
    return LinearSegmentedColormap.from_list("", ends).with_extremes(bad=palette.masked)


@contextlib.contextmanager
def _settings(palette: Palette) -> Iterator[None]:
    """matplotlib with our settings, for drawing as well as for saving."""
    try:
        from matplotlib import rc_context
    except ImportError:
        raise MissingEngineError(f"a chart needs the Python package matplotlib: {INSTALL}") from None
    with rc_context(_style(palette)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a class may be called 🍐: it is drawn as a box
        yield


def _style(p: Palette) -> dict[Any, Any]:
    """matplotlib's settings."""
    return {
        "axes.edgecolor": p.border,
        "axes.facecolor": "none",
        "axes.labelcolor": p.muted,
        "axes.labelsize": RULE,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": p.ink,
        "axes.titlelocation": "left",
        "axes.titlesize": FORMULA,
        "figure.facecolor": p.paper,
        "font.family": FONT,
        "font.size": RULE,
        "grid.color": p.muted,
        "grid.alpha": 0.2,
        "image.composite_image": False,
        "legend.frameon": False,
        "savefig.facecolor": p.paper,
        "svg.fonttype": "none",
        "svg.hashsalt": "tinygrad_edu",  # the same ids in the same picture
        "text.color": p.ink,
        "text.parse_math": False,  # a class may be called $
        "xtick.color": p.border,
        "xtick.labelcolor": p.muted,
        "ytick.color": p.border,
        "ytick.labelcolor": p.muted,
    }


def _adapting(source: str) -> str:
    """A light SVG that turns dark for a reader who prefers that: each colour of one palette becomes the other's."""
    # A marker is defined once and used often. Each use has its colour, and no rule reaches that of the definition.
    source = re.sub(r'(<path id="m[^"]*" d="[^"]*" style=")stroke: #\w+', r"\1", source)
    rules = [
        f'.chart [style*="{part}: {light}"] {{ {part}: {dark} !important }}'
        for light, dark in pairs().items()
        for part in ("fill", "stroke")
        if f"{part}: {light}" in source
    ]
    hidden = '.chart image[id^="{}-"] {{ display: none }}'
    rules += [hidden.format("light"), hidden.format("dark").replace("none", "inline")]
    dark_sheet = "\n".join(rules)
    sheet = f"{hidden.format('dark')}\n@media (prefers-color-scheme: dark) {{\n{dark_sheet}\n}}"
    styled = source.replace("</title>", f"</title>\n<style>\n{sheet}\n</style>", 1)
    return styled.replace("<svg", '<svg class="chart"', 1)
