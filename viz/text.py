"""Numbers, names and shapes as the pictures write them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tinygrad_edu.ops import symbolic
from viz.signs import clipped

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LONGEST_NAME = 40
_CHUNK = 1 << 16
FEW = 8  # up to so many elements, a tensor is shown by its numbers


def number(value: Any) -> str:
    """A number with four significant digits and a real minus sign; an exact zero reads 0.

    >>> number(-2.0), number(0.23549), number(-0.0), number(True), number(np.nan), number(-np.inf)
    ('−2', '0.2355', '0', 'True', 'NaN', '−∞')
    """
    value = np.asarray(value).item()
    if isinstance(value, (bool, int)):
        return str(value).replace("-", "−")
    return symbolic.number(value + 0.0).replace("nan", "NaN").replace("inf", "∞")


def factor(value: Any) -> str:
    """A number inside a product: negatives in parentheses.

    >>> factor(-2.0)
    '(−2)'
    """
    return bracketed(number(value))


def bracketed(shown: str) -> str:
    """What starts with a minus sign in parentheses."""
    return f"({shown})" if shown.startswith("−") else shown


def literal(array: Any) -> str:
    """The numbers of a small array, in brackets as NumPy prints them.

    >>> literal(np.array([[1.0, -2.5], [0.0, 3.0]])), literal(-2.0)
    ('[[1 −2.5] [0 3]]', '−2')
    """
    if np.ndim(array) == 0:
        return number(array)
    return "[" + " ".join(map(literal, array)) + "]"


def printable(raw: str) -> str:
    """A text without control characters, which neither Graphviz nor SVG can carry, and a terminal would obey.

    >>> printable("two" + chr(10) + "lines")
    'two lines'
    """
    return "".join(character if character.isprintable() else " " for character in raw)


def name(raw: str) -> str:
    """A name given by the user, made printable, short, and with a trailing number set as a subscript.

    >>> name("w12"), name("layers.0.weight")
    ('w₁₂', 'layers.0.weight')
    """
    clean = clipped(printable(raw), _LONGEST_NAME)
    match = re.fullmatch(r"([^\W\d_]+)_?(\d+)", clean)
    return match[1] + match[2].translate(_SUBSCRIPTS) if match else clean


def tidy(formula: str) -> str:
    """Write small whole powers as superscripts.

    >>> tidy("2 ⊙ x^(2 − 1)"), tidy("x^3")
    ('2 ⊙ x', 'x³')
    """

    def power(exponent: int) -> str:
        return "" if exponent == 1 else str(exponent).translate(_SUPERSCRIPTS)

    formula = re.sub(r"\^\((\d+) − 1\)", lambda match: power(int(match[1]) - 1), formula)
    return re.sub(r"\^(\d+)(?![\d.])", lambda match: power(int(match[1])), formula)


def wide(words: str, points: float) -> int:
    """Room for a line of text in any font: Graphviz only guesses the widths of those it does not have."""
    return round(0.55 * points * len(words))


def size(array: Any) -> str:
    """The shape of an array, such as `(4, 16)`."""
    return str(tuple(np.shape(array)))


def chunks(*arrays: Any) -> Iterator[tuple[np.ndarray, ...]]:
    """Arrays of one shape as float64, some elements at a time: a copy of a whole embedding would take seconds."""
    flat = [np.ravel(array) for array in arrays]
    for start in range(0, flat[0].size, _CHUNK):
        yield tuple(array[start : start + _CHUNK].astype(np.float64) for array in flat)


def norm(array: Any) -> float:
    """The Euclidean norm over all elements."""
    return math.sqrt(sum(float(part @ part) for (part,) in chunks(array)))


def together(arrays: Iterable[Any]) -> float:
    """The norm of several arrays as if they were one; None counts as 0."""
    return math.sqrt(sum(norm(array) ** 2 for array in arrays if array is not None))


def magnitude(array: Any) -> str:
    """A number as it is, a tensor by its norm."""
    return number(array) if np.ndim(array) == 0 else f"norm {number(norm(array))}"


def mean(array: np.ndarray) -> float:
    """The mean of all elements; 0 where it is only what rounding left of a sum of 0."""
    found = sum(float(part.sum()) for (part,) in chunks(array)) / array.size
    if array.dtype.kind == "f" and abs(found) < 4 * np.finfo(array.dtype).eps * max(-array.min(), array.max()):
        return 0.0
    return found


def statistics(array: Any) -> str:
    """A summary in words: shape, norm, extremes, mean, and how many elements are exactly zero."""
    array = np.asarray(array)
    if array.ndim == 0:
        return number(array)
    if array.size == 0:
        return f"shape {array.shape}, empty"
    zeros = 100 * (1 - np.count_nonzero(array) / array.size)
    return (
        f"shape {array.shape}, norm {number(norm(array))}, min {number(array.min())}, max {number(array.max())}, "
        f"mean {number(mean(array))}, {zeros:.3g} % zero"
    )
