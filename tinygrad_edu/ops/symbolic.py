"""Symbol: a value that knows how it is written. A rule that is run on symbols prints itself and computes at once."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tinygrad_edu.ops import elementwise as e
from tinygrad_edu.ops.movement import getitem, swapaxes
from tinygrad_edu.ops.op import Op

# How tightly a notation binds; what binds less tightly than its surroundings is put in parentheses.
_SUM, _PRODUCT, _MATRIX, _POWER, _ATOM = 1, 2, 3, 4, 5
_BINDING = {
    **dict.fromkeys((" + ", " − "), _SUM),
    **dict.fromkeys((" ⊙ ", " / ", "−{", "Σ", "Π"), _PRODUCT),
    **dict.fromkeys((" · ", " ⊗ "), _MATRIX),
    **dict.fromkeys(("^", "²", "ᵀ", "√", "}["), _POWER),
}


def signs(notation: str) -> list[int]:
    """How tightly each sign in a notation such as "{} ⊙ {}" binds."""
    return [strength for sign, strength in _BINDING.items() if sign in notation]


def _open(text: str) -> bool:
    """Whether the text ends within the reach of a Σ, which would also take in what is written next."""
    _, sign, reach = text.replace("Π", "Σ").rpartition("Σ ")
    return bool(sign) and reach.count("(") >= reach.count(")")


def number(value: Any) -> str:
    """A number as formulas show it: four significant digits and a real minus sign."""
    return f"{value:.4g}".replace("-", "−")


def write(op: Op, texts: list[tuple[str, int]]) -> tuple[str, int]:
    """The op applied to inputs that are written already: each a text and how tightly it binds, as is the result."""
    called = op.name.replace("{", "{{").replace("}", "}}")  # braces mean something in a notation
    notation = op.notation or f"{called}({', '.join(['{}'] * len(texts))})"
    if notation == "{}":
        return texts[0]
    around = max(signs(notation), default=0)  # 0: inside the parentheses of exp(x) nothing needs another pair
    parts = []
    for position, (text, bound) in enumerate(texts):
        first, last = notation.startswith("{") and position == 0, position == len(texts) - 1
        tight = around == _POWER or ("} − {" in notation and not first)  # (a^b)^c, a − (b − c)
        loose = bound < around or (tight and bound == around) or ("} / {" in notation and not first and bound < _POWER)
        unclear = (text.startswith("−") and not first) or (_open(text) and not last)  # a − (−b), (Σ a) ⊙ b
        parts.append(f"({text})" if around and (loose or unclear) else text)
    parts += [""] * (notation.count("{}") - len(parts))
    outside = re.sub(r"\(.*\)|\|.*\||‖.*‖|^\[.*\]$", "", notation)
    return notation.format(*parts), min(signs(outside), default=_ATOM)


class Symbol:
    """A text together with the value it stands for.

    `reads` holds the names of the symbols whose elements (not just shapes) went into it: what a rule really uses.

    >>> a, b = Symbol("a", np.array(2.0)), Symbol("b", np.array(3.0))
    >>> (a + b) * a
    (a + b) ⊙ a
    >>> float(((a + b) * a).value)
    10.0
    """

    __array_ufunc__ = None

    def __init__(self, text: str, value: Any, bound: int = _ATOM, reads: frozenset[str] | None = None) -> None:
        self.text, self.value, self.bound = text, value, bound
        self.reads = frozenset([text]) if reads is None else reads

    @staticmethod
    def __apply_op__(op: Op, inputs: tuple[Any, ...], options: dict[str, Any]) -> Symbol:
        symbols = [x if isinstance(x, Symbol) else Symbol.of(x) for x in inputs]
        settings = {name: x.value if isinstance(x, Symbol) else x for name, x in options.items()}
        result = op.forward(*(x.value for x in symbols), **settings)
        text, bound = write(op, [(x.text, x.bound) for x in symbols])
        symbols += [x for x in options.values() if isinstance(x, Symbol)]
        reads: frozenset[str] = frozenset().union(*(x.reads for x in symbols))
        shape_only = op.notation in ("n", "d")
        return Symbol(text, result[0] if op.saves else result, bound, frozenset() if shape_only else reads)

    @staticmethod
    def of(value: Any) -> Symbol:
        """A constant: a number is written as itself, an array by its shape."""
        text = number(value) if np.ndim(value) == 0 else f"array{np.shape(value)}"
        return Symbol(text, value, _PRODUCT if text.startswith("−") else _ATOM, frozenset())

    shape = property(lambda self: np.shape(self.value))
    ndim = property(lambda self: np.ndim(self.value))
    size = property(lambda self: np.size(self.value))
    dtype = property(lambda self: np.asarray(self.value).dtype)
    mT = property(lambda self: swapaxes(self, axis1=-1, axis2=-2))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError(f"{self.text}: a rule that calls NumPy itself cannot be printed; write it in ops")

    def __repr__(self) -> str:
        return self.text

    def __add__(self, other: Any) -> Any:
        return e.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return e.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return e.sub(self, other)

    def __rsub__(self, other: Any) -> Any:
        return e.sub(other, self)

    def __mul__(self, other: Any) -> Any:
        return e.mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return e.mul(other, self)

    def __truediv__(self, other: Any) -> Any:
        return e.div(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return e.div(other, self)

    def __neg__(self) -> Any:
        return e.neg(self)

    def __pow__(self, other: Any) -> Any:
        return e.pow(self, other)

    def __lt__(self, other: Any) -> Any:
        return e.less(self, other)

    def __gt__(self, other: Any) -> Any:
        return e.greater(self, other)

    def __getitem__(self, index: Any) -> Any:
        return getitem(self, index=index)


def print_rule(
    op: Op, index: int, g: Symbol, y: Symbol, inputs: list[Any], saved: tuple[Any, ...], options: dict[str, Any]
) -> Symbol:
    """Run one rule on symbols: its text is the formula, its value the contribution, its reads what backward must keep.

    Options that are floats (a slope, a scale) are written by name.
    """
    rule = op.rule(index)
    assert rule is not None, f"{op.name} has no rule for input {index}"
    symbols = [Symbol(name, value) for name, value in zip(op.saves, saved, strict=True)]
    named = {name: Symbol(name, value) if isinstance(value, float) else value for name, value in options.items()}
    result = rule(g, y, *inputs, *symbols, **named)
    return result if isinstance(result, Symbol) else Symbol.of(result)
