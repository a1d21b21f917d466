"""Ops that summarise an axis, beyond the plain sum of movement.py.

A rule first brings the gradient back to the input's shape with `expand` (written expand(G)), then weighs it.
"""

from __future__ import annotations

from math import prod as product
from typing import Any

import numpy as np

from tinygrad_edu.ops.elementwise import astype, divide_or_zero, equal
from tinygrad_edu.ops.movement import Axis, concatenate, expand, flip, getitem, normalize_axes, sum
from tinygrad_edu.ops.op import Op

# How many elements one element of the result summarises, as a number that does not change the dtype of what it divides.
count: Op = Op(
    "count",
    lambda x, axis: np.result_type(x, np.float32).type(product(x.shape[i] for i in normalize_axes(axis, x.ndim))),
    notation="n",
)
mean: Op = Op(
    "mean",
    lambda x, axis, keepdims: np.mean(x, axis=axis, keepdims=keepdims),
    vjp=(lambda g, y, x, axis, keepdims: expand(g, shape=x.shape, axis=axis, keepdims=keepdims) / count(x, axis=axis),),
    formula=("expand(G) / n",),
)


def _from_mean(x: Any, axis: Axis) -> Any:
    return x - mean(x, axis=axis, keepdims=True)


var: Op = Op(
    "var",
    lambda x, axis, keepdims, ddof: np.var(x, axis=axis, keepdims=keepdims, ddof=ddof),
    vjp=(
        lambda g, y, x, axis, keepdims, ddof: (
            expand(g, shape=x.shape, axis=axis, keepdims=keepdims)
            * (2 * _from_mean(x, axis))
            / (count(x, axis=axis) - ddof)
        ),
    ),
    formula=("expand(G) ⊙ 2 ⊙ (x − mean(x)) / (n − ddof)",),
)
std: Op = Op(  # at 0, where all elements are equal, the gradient is taken as 0
    "std",
    lambda x, axis, keepdims, ddof: np.std(x, axis=axis, keepdims=keepdims, ddof=ddof),
    vjp=(
        lambda g, y, x, axis, keepdims, ddof: (
            expand(g, shape=x.shape, axis=axis, keepdims=keepdims)
            * divide_or_zero(
                _from_mean(x, axis),
                expand(y, shape=x.shape, axis=axis, keepdims=keepdims) * (count(x, axis=axis) - ddof),
            )
        ),
    ),
    formula=("expand(G) ⊙ (x − mean(x)) / (expand(y) ⊙ (n − ddof))",),
)

# max and min: elements that tie share the gradient equally -----------------------------------------------------------


def _extreme_rule(g: Any, y: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    winners = astype(equal(x, expand(y, shape=x.shape, axis=axis, keepdims=keepdims)), dtype=x.dtype)
    return expand(g, shape=x.shape, axis=axis, keepdims=keepdims) * winners / sum(winners, axis=axis, keepdims=True)


def _extreme_hint(x: Any, axis: Axis, keepdims: bool) -> str:
    return f"shape {x.shape} has nothing to choose from along axis {axis}" if x.size == 0 else ""


_EXTREME_FORMULA = "expand(G) ⊙ [x = expand(y)] / (Σ [x = expand(y)])"
max: Op = Op(
    "max",
    lambda x, axis, keepdims: np.max(x, axis=axis, keepdims=keepdims),
    vjp=(_extreme_rule,),
    formula=(_EXTREME_FORMULA,),
    hint=_extreme_hint,
)
min: Op = Op(
    "min",
    lambda x, axis, keepdims: np.min(x, axis=axis, keepdims=keepdims),
    vjp=(_extreme_rule,),
    formula=(_EXTREME_FORMULA,),
    hint=_extreme_hint,
)
argmax: Op = Op("argmax", lambda x, axis, keepdims: np.argmax(x, axis=axis, keepdims=keepdims), hint=_extreme_hint)
argmin: Op = Op("argmin", lambda x, axis, keepdims: np.argmin(x, axis=axis, keepdims=keepdims), hint=_extreme_hint)

# cumsum, prod --------------------------------------------------------------------------------------------------------


def _reverse_cumsum(g: Any, y: Any, x: Any, axis: int) -> Any:
    return flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis)


cumsum: Op = Op(
    "cumsum",
    lambda x, axis: np.cumsum(x, axis=axis, dtype=x.dtype if x.dtype.kind == "f" else None),
    vjp=(_reverse_cumsum,),
    formula=("flip(cumsum(flip(G)))",),
)


def _others(x: Any, axis: int) -> Any:
    """The product of all other elements along the axis, without dividing: exact where there are zeros."""
    ones = np.ones_like(np.take(x, [0], axis)) if x.shape[axis] else x
    before = np.cumprod(np.concatenate([ones, x], axis), axis, dtype=x.dtype)
    after = np.flip(np.cumprod(np.flip(np.concatenate([x, ones], axis), axis), axis, dtype=x.dtype), axis)
    n = x.shape[axis]
    return np.take(before, range(n), axis) * np.take(after, range(1, n + 1), axis)


def _multiply_halves(x: Any, axis: int, keepdims: bool) -> Any:
    """Multiply one half with the other until one element is left: every derivative exists, also at zeros."""
    lead = (slice(None),) * (axis % x.ndim)
    if x.shape[axis] == 0:
        return sum(x, axis=axis, keepdims=keepdims) + 1
    while x.shape[axis] > 1:
        half = x.shape[axis] // 2
        pairs = getitem(x, index=(*lead, slice(half))) * getitem(x, index=(*lead, slice(half, 2 * half)))
        odd = getitem(x, index=(*lead, slice(2 * half, None)))
        x = concatenate(pairs, odd, axis=axis)
    return x if keepdims else getitem(x, index=(*lead, 0))


others: Op = Op("others", _others, notation="others({})")
prod: Op = Op(
    "prod",
    lambda x, axis, keepdims: np.prod(x, axis=axis, keepdims=keepdims),
    vjp=(
        lambda g, y, x, axis, keepdims: expand(g, shape=x.shape, axis=axis, keepdims=keepdims) * others(x, axis=axis),
    ),
    formula=("expand(G) ⊙ others(x)",),
    notation="Π {}",
    compose=_multiply_halves,
)
