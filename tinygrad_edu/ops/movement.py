"""Ops that move elements without computing on them, and their adjoints: the rule of each is another op of this page.

sum <-> expand, getitem <-> scatter, reshape <-> reshape, transpose <-> transpose, pad <-> getitem, repeat <-> scatter.
`sum` is here because summing is the adjoint of copying. `sum_to` is how a broadcast is undone (see autograd.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tinygrad_edu.ops.op import Op

Axis = int | tuple[int, ...] | None
Shape = tuple[int, ...]


def normalize_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """An axis argument as a tuple of non-negative axes; None means all of them."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(np.lib.array_utils.normalize_axis_tuple(axis, ndim))


# sum <-> expand ------------------------------------------------------------------------------------------------------


def _expand(x: Any, shape: Shape, axis: Axis, keepdims: bool) -> Any:
    if not keepdims:
        x = np.expand_dims(x, normalize_axes(axis, len(shape)))
    return np.broadcast_to(x, shape)


def _sum_to(x: Any, shape: Shape) -> Any:
    extra = x.ndim - len(shape)
    if extra and x.shape[extra:] == shape and prod(shape) > 1 and x.dtype.kind == "f":
        copies = x.reshape(prod(x.shape[:extra]), prod(shape))
        return np.matmul(np.ones(len(copies), x.dtype), copies).reshape(shape)  # np.sum takes up to four times as long
    added = tuple(range(extra))
    stretched = tuple(i + len(added) for i, n in enumerate(shape) if n == 1 and x.shape[i + len(added)] != 1)
    return np.sum(x, axis=added + stretched, keepdims=True).reshape(shape) if added or stretched else x


sum: Op = Op(
    "sum",
    lambda x, axis, keepdims: np.sum(x, axis=axis, keepdims=keepdims),
    vjp=(lambda g, y, x, axis, keepdims: expand(g, shape=x.shape, axis=axis, keepdims=keepdims),),
    formula=("expand(G)",),
    notation="Σ {}",
)
# The inverse of a reduction's shape: the reduced axes come back, each element copied along them.
expand: Op = Op(
    "expand",
    _expand,
    vjp=(lambda g, y, x, shape, axis, keepdims: sum(g, axis=axis, keepdims=keepdims),),
    formula=("Σ G",),
)
broadcast_to: Op = Op(
    "broadcast_to",
    lambda x, shape: np.broadcast_to(x, shape),
    vjp=(lambda g, y, x, shape: g,),
    formula=("G",),
    hint=lambda x, shape: f"aligned from the right, each axis of {x.shape} must be 1 or equal to that of {shape}",
)
sum_to: Op = Op(
    "sum_to",
    _sum_to,
    vjp=(lambda g, y, x, shape: broadcast_to(g, shape=x.shape),),
    formula=("broadcast_to(G)",),
    notation="Σ {}",
)

# Shapes --------------------------------------------------------------------------------------------------------------


def _reshape_hint(x: Any, shape: Shape) -> str:
    needs = f"needs {prod(shape)} (one axis may be -1: it takes what is left)"
    if -1 in shape:
        needs = f"needs a multiple of {abs(prod(shape))}" if shape.count(-1) == 1 else "leaves more than one axis open"
    return f"{x.shape} holds {x.size} elements, {shape} {needs}"


def _transpose_hint(x: Any, axes: tuple[int, ...]) -> str:
    if len(axes) == 2 and x.ndim > 2:
        return f"this permutes all {x.ndim} axes, as in NumPy; to swap two of them write swapaxes{axes}"
    return f"each of the {x.ndim} axes must be named once, got {axes}"


reshape: Op = Op(
    "reshape",
    lambda x, shape: x.reshape(shape),
    vjp=(lambda g, y, x, shape: reshape(g, shape=x.shape),),
    formula=("reshape(G)",),
    hint=_reshape_hint,
)
squeeze: Op = Op(
    "squeeze",
    lambda x, axis: np.squeeze(x, axis),
    vjp=(lambda g, y, x, axis: reshape(g, shape=x.shape),),
    formula=("reshape(G)",),
)
expand_dims: Op = Op(
    "expand_dims",
    lambda x, axis: np.expand_dims(x, axis),
    vjp=(lambda g, y, x, axis: reshape(g, shape=x.shape),),
    formula=("reshape(G)",),
)
transpose: Op = Op(
    "transpose",
    lambda x, axes: np.transpose(x, axes),
    vjp=(lambda g, y, x, axes: transpose(g, axes=tuple(int(i) for i in np.argsort(normalize_axes(axes, x.ndim)))),),
    formula=("Gᵀ",),
    notation="{}ᵀ",
    hint=_transpose_hint,
)
swapaxes: Op = Op(
    "swapaxes",
    lambda x, axis1, axis2: np.swapaxes(x, axis1, axis2),
    vjp=(lambda g, y, x, axis1, axis2: swapaxes(g, axis1=axis1, axis2=axis2),),
    formula=("Gᵀ",),
    notation="{}ᵀ",
)
flip: Op = Op(
    "flip", lambda x, axis: np.flip(x, axis), vjp=(lambda g, y, x, axis: flip(g, axis=axis),), formula=("flip(G)",)
)


def _unroll(shift: int | Sequence[int]) -> int | tuple[int, ...]:
    return tuple(-s for s in shift) if isinstance(shift, Sequence) else -shift


roll: Op = Op(
    "roll",
    lambda x, shift, axis: np.roll(x, shift, axis),
    vjp=(lambda g, y, x, shift, axis: roll(g, shift=_unroll(shift), axis=axis),),
    formula=("roll(G)",),
)
tril: Op = Op("tril", lambda x, k: np.tril(x, k), vjp=(lambda g, y, x, k: tril(g, k=k),), formula=("tril(G)",))
triu: Op = Op("triu", lambda x, k: np.triu(x, k), vjp=(lambda g, y, x, k: triu(g, k=k),), formula=("triu(G)",))

# getitem <-> scatter: reading some elements, and adding to them ------------------------------------------------------


def _scatter(x: Any, index: Any, shape: Shape) -> Any:
    result = np.zeros(shape, x.dtype)
    if is_basic(index):
        result[index] = x
    elif isinstance(index, np.ndarray) and index.dtype.kind in "iu":
        _add_rows(result, index.reshape(-1), x.reshape(index.size, *shape[1:]))
    else:
        np.add.at(result, index, x)  # an element that was read twice receives both gradients
    return result


def _add_rows(result: Any, index: Any, x: Any) -> None:
    """result[index[i]] += x[i] for each i, many times faster than np.add.at: the rows are sorted by where they go."""
    index = np.where(index < 0, index + len(result), index)
    order = np.argsort(index, kind="stable")
    places, starts = np.unique(index[order], return_index=True)
    if len(places):
        result[places] = np.add.reduceat(x[order], starts, axis=0)


def is_basic(index: Any) -> bool:
    """Whether an index reads each element at most once: integers, slices, None, ... and at most one boolean mask."""
    parts = index if isinstance(index, tuple) else (index,)
    simple = [isinstance(part, (int, np.integer, slice, type(None), type(Ellipsis))) for part in parts]
    return all(simple) or (len(parts) == 1 and np.asarray(parts[0]).dtype.kind == "b")


getitem: Op = Op(
    "getitem",
    lambda x, index: x[index],
    vjp=(lambda g, y, x, index: scatter(g, index=index, shape=x.shape),),
    formula=("scatter(G)",),
    notation="{}[…]",
)
scatter: Op = Op("scatter", _scatter, vjp=(lambda g, y, x, index, shape: getitem(g, index=index),), formula=("G[…]",))


def _inner(pad_width: Any, shape: Shape) -> tuple[slice, ...]:
    """Where the original sits inside the padded array."""
    widths = np.broadcast_to(pad_width, (len(shape), 2))
    return tuple(slice(int(before), int(before) + n) for (before, _), n in zip(widths, shape, strict=True))


def _along(index: Any, axis: int, ndim: int) -> tuple[Any, ...]:
    return (slice(None),) * (axis % ndim) + (index,)


def _repeat_index(repeats: Any, axis: int, shape: Shape) -> tuple[Any, ...]:
    return _along(np.repeat(np.arange(shape[axis]), repeats), axis, len(shape))


pad: Op = Op(
    "pad",
    lambda x, pad_width, value: np.pad(x, pad_width, constant_values=value),
    vjp=(lambda g, y, x, pad_width, value: getitem(g, index=_inner(pad_width, x.shape)),),
    formula=("G[…]",),
)
repeat: Op = Op(
    "repeat",
    lambda x, repeats, axis: np.repeat(x, repeats, axis),
    vjp=(lambda g, y, x, repeats, axis: scatter(g, index=_repeat_index(repeats, axis, x.shape), shape=x.shape),),
    formula=("scatter(G)",),
)

# Joining: each input gets its own piece of the gradient back ---------------------------------------------------------


def _piece(axis: int, index: int, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    start = int(np.sum([x.shape[axis] for x in inputs[:index]], dtype=int))
    return _along(slice(start, start + inputs[index].shape[axis]), axis, inputs[index].ndim)


def _join_hint(*inputs: Any, axis: int) -> str:
    if not -inputs[0].ndim <= axis < inputs[0].ndim:
        return f"shape {inputs[0].shape} has no axis {axis}"
    return f"all shapes must agree but for axis {axis}: {', '.join(str(x.shape) for x in inputs)}"


def _stack_hint(*inputs: Any, axis: int) -> str:
    if all(x.shape == inputs[0].shape for x in inputs):
        return f"with one more axis, shape {inputs[0].shape} has no axis {axis}"
    return f"all shapes must be equal: {', '.join(str(x.shape) for x in inputs)}"


concatenate: Op = Op(
    "concatenate",
    lambda *inputs, axis: np.concatenate(inputs, axis),
    vjp=lambda g, y, *inputs, axis, index: getitem(g, index=_piece(axis, index, inputs)),
    formula=("G[…]",),
    hint=_join_hint,
)
stack: Op = Op(
    "stack",
    lambda *inputs, axis: np.stack(inputs, axis),
    vjp=lambda g, y, *inputs, axis, index: getitem(g, index=_along(index, axis, g.ndim)),
    formula=("G[…]",),
    hint=_stack_hint,
)
