"""The backward pass as an SVG that moves by itself: style rules over the ids of the picture, and no script.

For a README or a slide, where a page cannot be. A reader who prefers no motion sees the finished picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from viz.frames import Frame
from viz.palette import DARK, SANS, Palette
from viz.terminal import wrapped

_SECONDS = 3.2  # for one frame
_FADE = 0.4  # in seconds
_LAST = 2  # as many times as long stands the last one
_STRIP, _LINE, _TYPE = 64.0, 20.0, 15.0  # below the picture: its height, that of a line, the size of type
_ADVANCE = 0.47  # the width of an average letter, in sizes of type
_LINES = 3  # of what is said at most


def animated(svg: str, frames: Sequence[Frame], palette: Palette, *, adapts: bool) -> str:
    """Let the parts of a picture appear frame by frame, over and over, with what is said beneath.

    svg: a picture with the ids that the frames speak of; adapts: it turns dark where its reader prefers that.
    """
    told = [frame for frame in frames if frame.phase == "backward"]
    if not told:
        return svg
    width, height = _size(svg)
    svg = _resized(svg, width, height + _STRIP)
    sheet = "\n".join(_rules(told, palette, adapts))
    captions = "\n".join(_captions(told, width, height))
    return svg.replace("</style>", f"{sheet}\n</style>", 1).replace("</svg>", f"{captions}\n</svg>")


def _size(svg: str) -> tuple[float, float]:
    match = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', svg)
    assert match is not None
    return float(match[1]), float(match[2])


def _resized(svg: str, width: float, height: float) -> str:
    size = f'width="{width:g}pt" height="{height:g}pt"'
    svg = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', size, svg, count=1)
    return re.sub(r'viewBox="[^"]*"', f'viewBox="0 0 {width:g} {height:g}"', svg, count=1)


def _rules(told: Sequence[Frame], palette: Palette, adapts: bool) -> Iterator[str]:
    """The style: what stands still, then what moves, for those who like motion."""
    last = len(told) - 1
    yield f"svg {{ {_variables(palette)} }}"
    yield f".said {{ opacity: 0 }} #said{last} {{ opacity: 1 }}"
    yield "@media (prefers-reduced-motion: no-preference) {"
    yield f"#said{last} {{ opacity: 0 }}"
    yield from _motion(told)
    yield "}"
    if adapts:
        yield f"@media (prefers-color-scheme: dark) {{ svg {{ {_variables(DARK)} }} }}"


def _motion(told: Sequence[Frame]) -> Iterator[str]:
    """Keyframes for each moment, shared by all that appears then; the outline of the current card; the captions."""
    parts = len(told) + _LAST - 1
    whole = parts * _SECONDS
    share = 100 / parts  # of the whole, for one frame
    ends = [*(share * (number + 1) for number in range(len(told) - 1)), 100.0]
    outlined: dict[str, tuple[float, float]] = {}
    for number, (frame, end) in enumerate(zip(told, ends, strict=True)):
        start = share * number
        if number and frame.shows:
            shown = start + 100 * _FADE / whole
            yield f"@keyframes in{number} {{ 0%, {start:.2f}% {{ opacity: 0 }} {shown:.2f}%, 100% {{ opacity: 1 }} }}"
            yield f"{', '.join(f'#{part}' for part in frame.shows)} {{ animation: in{number} {whole:g}s infinite }}"
        yield f"@keyframes on{number} {{ {_during(start, end, 'opacity: 1', 'opacity: 0')} }}"
        yield f"#said{number} {{ animation: on{number} {whole:g}s step-end infinite }}"
        if frame.card and frame.shows:  # the root twice: where the gradient starts, and where it passes
            outlined[frame.card] = outlined.get(frame.card, (start, end))[0], end
    for card, (start, end) in outlined.items():
        look = "stroke: var({}); stroke-width: {}"
        moment = _during(start, end, look.format("--now", 4), look.format("--edge", 1))
        yield f"@keyframes now-{card} {{ {moment} }}"
        yield f"#{card} path[fill=none] {{ animation: now-{card} {whole:g}s step-end infinite }}"


def _variables(palette: Palette) -> str:
    """The colours of what the animation adds; ids in it have letters, digits, - and _ only, as a selector may."""
    return f"--now: {palette.gradient}; --edge: {palette.border}; --said: {palette.ink}; --strip: {palette.paper}"


def _during(start: float, end: float, inside: str, outside: str) -> str:
    """Keyframes of what looks one way during a frame and another way around it."""
    before = f"0% {{ {outside} }} " if start else ""
    after = f" {end:.2f}% {{ {outside} }}" if end < 100 else ""
    return f"{before}{start:.2f}% {{ {inside} }}{after}"


def _captions(told: Sequence[Frame], width: float, height: float) -> Iterator[str]:
    """What is said, frame upon frame, in the strip beneath the picture."""
    yield f'<rect class="strip" x="0" y="{height:g}" width="{width:g}" height="{_STRIP:g}" fill="var(--strip)"/>'
    columns = int((width - 40) / (_ADVANCE * _TYPE))
    for number, frame in enumerate(told):
        lines = list(wrapped(frame.caption, columns))
        lines = lines if len(lines) <= _LINES else [*lines[: _LINES - 1], f"{lines[_LINES - 1][:-1]}…"]
        spans = "".join(
            f'<tspan x="20" y="{height + _LINE * row + 6:g}">{escape(line)}</tspan>' for row, line in enumerate(lines)
        )
        yield (
            f'<text class="said" id="said{number}" font-family="{SANS}" font-size="{_TYPE:g}" '
            f'fill="var(--said)">{spans}</text>'
        )
