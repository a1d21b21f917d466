"""The colours of the pictures, light and dark, and their type sizes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """One colour per role. Text keeps a contrast of 4.5 : 1 on what it stands on."""

    paper: str
    card: str
    ink: str
    muted: str
    border: str
    value: str
    gradient: str
    gradient_tint: str
    parameter_tint: str
    input_tint: str
    seed: str
    modules: tuple[str, str]  # outer, inner: alternating with the depth
    module_border: str
    warning: str
    warning_tint: str
    masked: str  # a cell that there is nothing in
    categories: tuple[str, ...]  # lines and classes of a chart, in this order
    # Heat maps: purple, white, green, so that a sign is never mistaken for a value or a gradient.
    negative: str = "#762a83"
    zero: str = "#f7f7f7"
    # Gates: light where a gradient passes, dark where none does.
    open: str = "#f7f7f7"
    closed: str = "#1f2934"
    positive: str = "#1b7837"
    weight: str = "#00568c"  # shares, such as attention weights: from zero to this


LIGHT = Palette(
    paper="#ffffff",
    card="#fffffe",  # not paper: a role is known by its colour where a picture turns dark
    ink="#1f2933",
    muted="#5f6b78",
    border="#b8c2cc",
    value="#0067a5",
    gradient="#b8480a",
    gradient_tint="#fdeee2",
    parameter_tint="#e6f1f9",
    input_tint="#f0f2f5",
    seed="#fff6d0",
    modules=("#f4f6f8", "#eaeef2"),
    module_border="#9aa7b4",
    warning="#8a5a00",
    warning_tint="#fff0c2",
    masked="#d5dae0",
    categories=("#0067a5", "#b8480a", "#2e7d4f", "#7a4fa3", "#8a6100", "#a83268", "#0b777e", "#5f6b78"),
)
DARK = Palette(
    paper="#12181f",
    card="#1b232c",
    ink="#e6ebf0",
    muted="#9aa7b4",
    border="#44515e",
    value="#6cb8ee",
    gradient="#f59b5c",
    gradient_tint="#3a281c",
    parameter_tint="#16324a",
    input_tint="#232d37",
    seed="#3b3413",
    modules=("#171f27", "#1f2831"),
    module_border="#5f6b78",
    warning="#f0c050",
    warning_tint="#3b3413",
    masked="#36414c",
    categories=("#6cb8ee", "#f59b5c", "#79c998", "#c09be6", "#dfb95a", "#ee8ab5", "#58c4cb", "#9aa7b4"),
)
THEMES = {"light": LIGHT, "dark": DARK}

SANS = "Helvetica,Arial,sans-serif"
MONO = "Menlo,DejaVu Sans Mono,Consolas,monospace"
TITLE, NAME, FORMULA, RULE, NUMBER, NOTE = 17, 15, 13, 11, 12, 10  # points, whole: Graphviz drops fractions


@dataclass(frozen=True)
class Style:
    """How one picture is drawn."""

    palette: Palette
    down: bool  # values flow down; else to the right
    detailed: bool  # heat maps and two lines per link; a large graph has summaries and one line
    cells: int = 16  # a heat map has at most so many rows and columns


def shade(palette: Palette, share: float) -> str:
    """The colour of a heat map cell whose value is `share` of the largest magnitude, from -1 to 1."""
    return mix(palette.zero, palette.positive if share > 0 else palette.negative, abs(share))


def mix(start: str, end: str, share: float) -> str:
    """A colour between two: the first at 0, the second at 1."""
    mixed = (round(a + share * (b - a)) for a, b in zip(rgb(start), rgb(end), strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def rgb(colour: str) -> tuple[int, ...]:
    """Red, green and blue of #rrggbb, each from 0 to 255."""
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
