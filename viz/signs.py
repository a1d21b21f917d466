"""Tokens and names as a chart can show them: nothing invisible, too long or without a sign."""

from __future__ import annotations

from functools import cache

_VISIBLE = str.maketrans({" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍"})


def shown(text: str, spaces: bool = True) -> str:
    r"""A text as it can be drawn: white space by visible signs, what the font does not have by its number.

    >>> shown(" a\n"), shown("two words", spaces=False), shown("\x00")
    ('␣a↵', 'two words', 'U+0000')
    """
    return "".join(" " if character == " " and not spaces else _sign(character) for character in text)


def clipped(text: str, longest: int = 10) -> str:
    """The beginning of a text, if it is long.

    >>> clipped("transformers", 6)
    'trans…'
    """
    return text if len(text) <= longest else text[: longest - 1] + "…"


def ending(text: str, longest: int = 60) -> str:
    """The end of a text, if it is long.

    >>> ending("transformers", 6)
    '…rmers'
    """
    return text if len(text) <= longest else "…" + text[1 - longest :]


def _sign(character: str) -> str:
    visible = character.translate(_VISIBLE)
    return visible if visible.isprintable() and ord(visible) in _drawable() else f"U+{ord(character):04X}"


@cache
def _drawable() -> frozenset[int]:
    """The characters that matplotlib's own font has: it cannot measure any other one."""
    try:
        from matplotlib import font_manager
    except ImportError:
        return frozenset(range(0x20, 0x10000))  # nothing will be drawn
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())
