"""Ops that move elements without computing on them, and their adjoints: the rule of each is another op of this page.

sum <-> expand, getitem <-> scatter, reshape <-> reshape, transpose <-> transpose, pad <-> getitem, repeat <-> scatter.
`sum` is here because summing is the adjoint of copying. `sum_to` is how a broadcast is undone (see autograd.py).
"""

from __future__ import annotations

import builtins
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
    added = x.ndim - len(shape)
    x = np.add.reduce(x, axis=tuple(range(added))) if added else x
    stretched = tuple([i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1])
    return np.add.reduce(x, axis=stretched, keepdims=True) if stretched else x


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
    hint=lambda x, shape, axis, keepdims: f"{x.shape} is not {shape} with axis {axis} summed",
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
    hint=lambda x, shape: f"{x.shape} cannot have been broadcast from {shape}",
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
    hint=lambda x, axis: f"only axes of length 1 can be removed, axis {axis} of {x.shape} is longer: index it first",
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
    hint=lambda x, shift, axis: f"shift is a whole number, or one for each of the axes {axis}, got {shift!r}",
)


def _triangle_hint(x: Any, k: int) -> str:
    return f"a triangle is part of a matrix, got shape {x.shape}" if x.ndim < 2 else "k must be a whole number"


tril: Op = Op(
    "tril",
    lambda x, k: np.tril(x, k),
    vjp=(lambda g, y, x, k: tril(g, k=k),),
    formula=("tril(G)",),
    hint=_triangle_hint,
)
triu: Op = Op(
    "triu",
    lambda x, k: np.triu(x, k),
    vjp=(lambda g, y, x, k: triu(g, k=k),),
    formula=("triu(G)",),
    hint=_triangle_hint,
)

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
    index = index.astype(np.intp)  # ids of a byte cannot count the rows
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


def _index_hint(shape: Shape, index: Any) -> str:
    """Which part of an index does not fit which axis."""
    parts = list(index) if isinstance(index, tuple) else [index]
    known = (int, np.integer, slice, type(None), type(Ellipsis))
    arrays = [part if isinstance(part, known) or part is Ellipsis else np.asarray(part) for part in parts]
    for part in arrays:
        if isinstance(part, np.ndarray) and part.dtype.kind not in "biu":
            return (
                f"an index is made of whole numbers, slices, None, ... and arrays of whole numbers or booleans, got "
                f"{part.dtype}: write index.astype(int)"
            )
    lengths = [_axes_used(part) for part in arrays]
    if builtins.sum(lengths) > len(shape):
        return f"shape {shape} has {len(shape)} axes, the index names {builtins.sum(lengths)}"
    axis = 0
    for part, length in zip(arrays, lengths, strict=True):
        axis = len(shape) - builtins.sum(lengths[arrays.index(Ellipsis) :]) if part is Ellipsis else axis
        wrong = "" if part is Ellipsis else _misfit(part, axis, shape)
        if wrong:
            return wrong
        axis += length
    return "the arrays in the index do not broadcast, or what is written does not have the shape of what is selected"


def _axes_used(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype == bool else 1


def _misfit(part: Any, axis: int, shape: Shape) -> str:
    if isinstance(part, np.ndarray) and part.dtype == bool:
        covered = shape[axis : axis + part.ndim]
        return (
            "" if part.shape == covered else f"the mask {part.shape} must have the shape of what it covers, {covered}"
        )
    if part is None or isinstance(part, slice):
        return ""
    numbers, n = np.asarray(part), shape[axis]
    outside = numbers[(numbers < -n) | (numbers >= n)]
    if not outside.size:
        return ""
    there = f"it has 0 to {n - 1}, or -{n} to -1 counted from the end" if n else "it is empty"
    return f"index {outside.flat[0]} is out of range for axis {axis} of shape {shape}: {there}"


getitem: Op = Op(
    "getitem",
    lambda x, index: x[index],
    vjp=(lambda g, y, x, index: scatter(g, index=index, shape=x.shape),),
    formula=("scatter(G)",),
    notation="{}[…]",
    hint=lambda x, index: _index_hint(x.shape, index),
)
scatter: Op = Op(
    "scatter",
    _scatter,
    vjp=(lambda g, y, x, index, shape: getitem(g, index=index),),
    formula=("G[…]",),
    hint=lambda x, index, shape: _index_hint(shape, index),
)


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
    hint=lambda x, pad_width, value: (
        f"pad_width is (before, after), none negative, or one such pair for each of the {x.ndim} axes of {x.shape}, "
        f"got {pad_width}"
    ),
)
repeat: Op = Op(
    "repeat",
    lambda x, repeats, axis: np.repeat(x, repeats, axis),
    vjp=(lambda g, y, x, repeats, axis: scatter(g, index=_repeat_index(repeats, axis, x.shape), shape=x.shape),),
    formula=("scatter(G)",),
    hint=lambda x, repeats, axis: (
        f"repeats is one number, or one for each element along axis {axis} of {x.shape}, none negative, got {repeats}"
    ),
)

# Joining: each input gets its own piece of the gradient back ---------------------------------------------------------


def _piece(axis: int, index: int, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    start = int(np.sum([x.shape[axis] for x in inputs[:index]], dtype=int))
    return _along(slice(start, start + inputs[index].shape[axis]), axis, inputs[index].ndim)


def _join_hint(*inputs: Any, axis: int) -> str:
    return f"all shapes must agree but for axis {axis}: {', '.join(str(x.shape) for x in inputs)}"


def _stack_hint(*inputs: Any, axis: int) -> str:
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
