"""The style sheet of a drawn graph: a light picture turns dark for a reader who prefers that, also within `<img>`."""

from __future__ import annotations

import re
from dataclasses import fields

from viz.palette import DARK, LIGHT, Palette

_CRISP = '.graph polygon[stroke="none"] { shape-rendering: crispEdges }'  # no seams between the cells of a heat map


def styled(svg: str, *, adapts: bool) -> str:
    """An SVG with its sheet. One that adapts is in the light palette; the sheet has the dark colour of each role."""
    rules = [
        f'.graph [{part}="{light}"] {{ {part}: {dark} }}'
        for light, dark in pairs().items()
        for part in ("fill", "stroke")
        if adapts and f'{part}="{light}"' in svg
    ]
    sheet = "\n".join([_CRISP, "@media (prefers-color-scheme: dark) {", *rules, "}"] if rules else [_CRISP])
    start = '<svg class="graph"{}>\n<style>\n{}\n</style>'
    return re.sub(r"<svg([^>]*)>", lambda match: start.format(match[1], sheet), svg, count=1)


def pairs() -> dict[str, str]:
    """For each light colour that differs in the dark, its dark one."""
    return {light: dark for light, dark in zip(_colours(LIGHT), _colours(DARK), strict=True) if light != dark}


def _colours(palette: Palette) -> list[str]:
    roles = (getattr(palette, field.name) for field in fields(palette))
    return [colour for role in roles for colour in (role if isinstance(role, tuple) else (role,))]
