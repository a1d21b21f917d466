"""What every picture can do: be shown by a notebook, be read aloud, and be saved."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from tinygrad_edu.files import replacing
from viz.render import MissingEngineError


class Picture(ABC):
    """A finished picture. Notebooks show it; `svg` is its source; `save` writes it."""

    suffixes: ClassVar[tuple[str, ...]] = (".svg", ".png", ".pdf")
    title: str

    @property
    @abstractmethod
    def svg(self) -> str:
        """The picture as SVG."""

    @abstractmethod
    def _encoded(self, kind: str) -> bytes:
        """The picture as a file of this kind, which is one of the suffixes without its dot."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture; the suffix says how, such as .svg, .png or .pdf. Returns the path.

        A file that is there already is replaced only when the new one is complete.
        Raises ValueError for another suffix, OSError if the file cannot be written, MissingEngineError if what draws
        such a file is not installed.
        """
        path = Path(path)
        fitting = [suffix for suffix in self.suffixes if path.name.lower().endswith(suffix)]
        if not fitting:
            raise ValueError(f"save: {path.name!r} must end in one of {', '.join(self.suffixes)}")
        content = self._encoded(max(fitting, key=len)[1:])
        with replacing(path) as file:
            file.write(content)
        return path

    def _repr_svg_(self) -> str | None:
        try:
            return self.svg
        except MissingEngineError:
            return None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the picture, or what to install."""
        try:
            return {"image/svg+xml": self.svg, "text/plain": repr(self)}
        except MissingEngineError as error:
            return {"text/plain": f"{self!r}: {error}"}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.title}>"


def labelled(svg: str, title: str) -> str:
    """The SVG as one image, with a title that screen readers read; what stands before it is cut off."""
    label = escape(title)
    svg = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return re.sub(r"(<svg[^>]*>)", lambda match: f"{match[1]}\n<title>{label}</title>", svg, count=1)
