"""What charts are given, checked: each error says which argument it is about, what was expected, and what came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def got(value: Any) -> str:
    """A value as errors name it, in one line: its type, and the beginning of what it is."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name, text = type(value).__name__, " ".join(repr(value).split())
    return f"{text:.60}" if text.startswith(name) else f"{name} {text:.40}"


def array(what: str, value: Any) -> np.ndarray:
    """The value as a new array. Raises ValueError for rows that differ in length."""
    try:
        return np.array(value)
    except ValueError:
        raise ValueError(f"{what}: expected rows of one length, got {got(value)}") from None


def numbers(what: str, value: Any) -> np.ndarray:
    """The value as a new array of float64. Raises TypeError for what is no number, ValueError for uneven rows.

    >>> numbers("table", "abc")
    Traceback (most recent call last):
    TypeError: table: expected real numbers, got str 'abc'
    """
    found = array(what, value)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{what}: expected real numbers, got {got(value)}")
    return found.astype(np.float64)


def finite(what: str, values: np.ndarray) -> np.ndarray:
    """The values, among which is neither NaN nor infinity; else ValueError."""
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        first = f", the first at {wrong[0].tolist()}" if values.ndim else ""
        raise ValueError(
            f"{what}: {len(wrong)} of {values.size} numbers are NaN or infinite{first}: leave them out, or find what "
            "made them with te.detect_anomaly()"
        )
    return values


def listed(what: str, values: Any) -> list[Any]:
    """The items of what should be a list. Raises TypeError."""
    if not isinstance(values, Iterable) or (isinstance(values, np.ndarray) and not values.ndim):
        raise TypeError(f"{what}: expected a list, got {got(values)}")
    return list(values)


def able(what: str, value: Any, method: str, advice: str) -> None:
    """Raise TypeError for what does not have a method, and for a class that was not called yet."""
    if isinstance(value, type):
        raise TypeError(f"{what}: got {got(value)}: make one first, as in {value.__name__}(...)")
    if not callable(getattr(value, method, None)):
        raise TypeError(f"{what}: {advice}, got {got(value)}")
