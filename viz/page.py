"""Pages that are one file with everything in it: no network, no other file, and no script but their own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from abc import ABC, abstractmethod
from dataclasses import fields
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from tinygrad_edu.files import replacing
from viz.palette import DARK, LIGHT, Palette
from viz.render import MissingEngineError

_DESCENT = {"light": "#1b7837", "dark": "#7fc98f"}


class Page(ABC):
    """A page that moves. Notebooks show it; `save` writes it as one file."""

    title: str
    height = 720  # in a notebook, in pixels

    @property
    @abstractmethod
    def html(self) -> str:
        """The whole page."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page, whole or not at all; returns the path. Raises ValueError unless it ends in .html."""
        path = Path(path)
        if path.suffix.lower() != ".html":
            raise ValueError(f"save: {path.name!r} must end in .html: this is a page")
        content = self.html.encode()
        with replacing(path) as file:
            file.write(content)
        return path

    def _repr_html_(self) -> str:
        """What a notebook shows: the page in a frame of its own."""
        try:
            page = self.html
        except (MissingEngineError, ValueError) as error:
            return f"<p>{escape(str(error))}</p>"
        return (
            f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" title="{escape(self.title)}" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.title}>"


def fill(name: str, theme: str, data: Any, **content: str) -> str:
    """The page `name`.html of this package with its style, its script, its data, and what else stands in it as $word.

    theme: "light" or "dark"; anything else leaves it to the reader's own.
    """
    script, css = resource(f"{name}.js"), palette_css() + resource("base.css") + resource(f"{name}.css")
    content |= {"css": css, "script": script, "policy": policy(script, css), "data": as_json(data)}
    content["theme"] = f' data-theme="{theme}"' if theme in ("light", "dark") else ""
    return Template(resource(f"{name}.html")).substitute(content)


def resource(name: str) -> str:
    """A file of this package, as text with plain line ends."""
    return files("viz").joinpath(name).read_text(encoding="utf-8")


def policy(script: str, css: str) -> str:
    """What the page may do: run this script, use this style, and nothing else; it can reach no network."""

    def digest(content: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    return f"default-src 'none'; script-src {digest(script)}; style-src {digest(css)}; img-src data:; base-uri 'none'"


def as_json(data: Any) -> str:
    """JSON that can stand inside a script element, whatever strings are in it."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def palette_css() -> str:
    """The palette as variables, light and dark, and the rules that lay it over a picture drawn in the light one."""
    light, dark = _variables(LIGHT, "light"), _variables(DARK, "dark")
    lay = [
        f'svg [{part}="{color}"]{{{part}:var(--{name})}}'
        for name, color in _roles(LIGHT).items()
        for part in ("fill", "stroke")
    ]
    auto = f"@media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}"
    chosen = f":root[data-theme=dark]{{color-scheme:dark;{dark}}}"
    return f":root{{{light}}}{auto}{chosen}{''.join(lay)}\n"


def _roles(palette: Palette) -> dict[str, str]:
    """The colours that change with the theme, by name. Those of heat maps do not."""
    fixed = ("negative", "zero", "positive", "open", "closed")
    plain = {f.name: getattr(palette, f.name) for f in fields(palette) if f.name not in fixed}
    roles = {name.replace("_", "-"): color for name, color in plain.items() if isinstance(color, str)}
    return roles | {f"module-{n}": color for n, color in enumerate(palette.modules)}


def _variables(palette: Palette, theme: str) -> str:
    return "".join(f"--{name}:{color};" for name, color in (_roles(palette) | {"descent": _DESCENT[theme]}).items())
