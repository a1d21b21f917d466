"""The steps as text, for machines without a browser: fitted to a width, Chinese letters counted as two columns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from viz.frames import Frame
from viz.text import printable
from viz.wording import say

_COLOURS = {"forward": "34", "backward": "33", "update": "32"}  # blue, orange, green, as far as terminals have them
_INDENT, _DEEP = 9, 11  # of what is said, of its mathematics
_NARROWEST = 30
# What stays on one line: a Chinese letter with the punctuation after it, or a word with the spaces after it.
_PIECES = re.compile(r"[\u2e80-\u9fff][，。：；？！）、]*|[^\s\u2e80-\u9fff]+[，。：；？！）、]*\s*|\s+")


def written(title: str, steps: Iterable[Frame], *, width: int = 80, colour: bool = False, lang: str = "en") -> str:
    """All steps, each with its key, what is said, and its mathematics."""
    width, phase = max(width, _NARROWEST), ""
    lines = list(wrapped(printable(title), width))
    for frame in steps:
        if frame.phase != phase:
            phase = frame.phase
            lines += ["", _painted(say(f"phase_{phase}", lang), phase, colour)]
        lines += _step(frame, width, colour)
    return "\n".join(lines) + "\n"


def _step(frame: Frame, width: int, colour: bool) -> Iterator[str]:
    key = f"  {frame.key:<{_INDENT - 3}} "
    said = list(wrapped(printable(frame.caption), width - _INDENT))
    yield from ((key if number == 0 else " " * _INDENT) + line for number, line in enumerate(said))
    for pair in frame.mathematics:
        whole = "   ".join(printable(part) for part in pair if part)
        fits = columns(whole) <= width - _DEEP
        for line in [whole] if fits else [piece for part in pair for piece in wrapped(printable(part), width - _DEEP)]:
            yield " " * _DEEP + _painted(line, frame.phase, colour)


def _painted(text: str, phase: str, colour: bool) -> str:
    return f"\033[1;{_COLOURS[phase]}m{text}\033[0m" if colour else text


def columns(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> columns("梯度 G"), columns("x̂")
    (6, 1)
    """
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def wrapped(text: str, width: int) -> Iterator[str]:
    """The text in lines of at most so many columns; a longer word is cut."""
    line = ""
    for piece in _PIECES.findall(text):
        if line and columns(line) + columns(piece.rstrip()) > width:
            yield line.rstrip()
            line = ""
        while columns(piece.rstrip()) > width:
            yield piece[: width // 2 if columns(piece) > len(piece) else width]
            piece = piece[width // 2 if columns(piece) > len(piece) else width :]
        line += piece
    if line.strip():
        yield line.rstrip()
