"""Inputs for every op of the registry, and what the result should be by an expression of its own.

The inputs are float64, away from kinks and ties, and cover broadcasting, 0-d, empty and strided arrays. The tests of
ops/ run over all of them, so a new op is tested as soon as it has a sample here, and fails until it has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from tinygrad_edu.ops import registry
from tinygrad_edu.ops.op import Op

Array = Any


@dataclass(frozen=True, eq=False)
class Sample:
    """One call of an op. `plain` is false where an option or a missing input makes the rules print another formula."""

    op: Op
    name: str
    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    expected: Callable[..., Any] = np.asarray
    order: int = 2  # how many derivatives are held against finite differences
    plain: bool = True

    def __str__(self) -> str:
        return f"{self.op.name}-{self.name}"

    def run(self, *inputs: Any) -> Any:
        """The op with the options of this sample, on its inputs or on others."""
        return self.op(*(inputs or self.inputs), **self.options)

    def cast(self, dtype: Any) -> tuple[Any, ...]:
        """The inputs, with each float array in another dtype."""
        return tuple(x.astype(dtype) if getattr(x, "dtype", None) == np.float64 else x for x in self.inputs)


def real(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> Array:
    """Random reals: all different, and on no kink."""
    return np.asarray(np.random.default_rng([seed, *shape]).uniform(low, high, shape))


def shapes_of_one(low: float, high: float) -> dict[str, Array]:
    return {
        "matrix": real(2, 3, low=low, high=high),
        "0-d": real(low=low, high=high),
        "empty": real(0, 3, low=low, high=high),
        "strided": real(4, 6, low=low, high=high)[::2, ::-3].T,
    }


def shapes_of_two(low: float, high: float) -> dict[str, tuple[Array, Array]]:
    def pair(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[Array, Array]:
        return real(*left, low=low, high=high), real(*right, low=low, high=high, seed=1)

    strided = real(3, 4, low=low, high=high)[:, ::-2].T, np.broadcast_to(real(3, low=low, high=high, seed=1), (2, 3))
    return {
        "same": pair((2, 3), (2, 3)),
        "row": pair((2, 3), (3,)),
        "outer": pair((2, 1), (1, 3)),
        "0-d": pair((), ()),
        "0-d-left": pair((), (2,)),
        "number": (real(2, 3, low=low, high=high), 1.5),
        "empty": pair((0, 3), (3,)),
        "strided": strided,
    }


def each(
    name: str, cases: dict[str, Any], expected: Callable[..., Any] | None = None, order: int = 2, **options: Any
) -> Iterator[Sample]:
    """One sample of the op for each case: an input, or a tuple of inputs."""
    for label, inputs in cases.items():
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        yield Sample(registry[name], label, inputs, options, expected or getattr(np, name), order)


def options_of(
    name: str, inputs: Any, *choices: dict[str, Any], expected: Callable[..., Any] | None = None, order: int = 2
) -> Iterator[Sample]:
    """One sample of the op for each choice of options, on the same inputs."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    for options in choices:
        label = ",".join(f"{key}={value}" for key, value in options.items())
        yield Sample(registry[name], label, inputs, options, expected or getattr(np, name), order)


# Element by element --------------------------------------------------------------------------------------------------


def elementwise() -> Iterator[Sample]:
    any_real, positive = shapes_of_one(-2, 2), shapes_of_one(0.3, 3)
    yield from each("neg", any_real, lambda x: 0 - x)
    yield from each("exp", any_real, lambda x: math.e**x)
    yield from each("expm1", any_real, lambda x: np.exp(x) - 1)
    yield from each("log", positive, lambda x: np.log2(x) * math.log(2))
    yield from each("log1p", positive, lambda x: np.log(1 + x))
    yield from each("log_or_zero", positive, np.log)
    yield from each("sqrt", positive, lambda x: x**0.5)
    yield from each("square", any_real, lambda x: x * x)
    yield from each("sin", any_real, lambda x: np.imag(np.exp(1j * x)))
    yield from each("cos", any_real, lambda x: np.real(np.exp(1j * x)))
    yield from each("tanh", any_real, lambda x: np.sinh(x) / np.cosh(x))
    yield from each("sign", any_real, lambda x: np.where(x > 0, 1.0, -1.0), order=0)  # a constant but for the jump
    yield from each("abs", any_real, lambda x: np.where(x > 0, x, -x))
    yield from each("erf", any_real, np.vectorize(math.erf, otypes=[float]))
    yield from each("relu", any_real, lambda x: x * (x > 0))
    yield from each("leaky_relu", any_real, lambda x, **_: np.where(x > 0, x, 0.1 * x), negative_slope=0.1)
    yield from each("elu", any_real, lambda x, alpha: np.where(x > 0, x, alpha * (np.exp(x) - 1)), alpha=0.7)
    yield from each("sigmoid", any_real, lambda x: 1 / (1 + np.exp(-x)))
    yield from each("softplus", any_real, lambda x: np.log(1 + np.exp(x)))
    yield from each("silu", any_real, lambda x: x / (1 + np.exp(-x)))
    yield from each("identity", any_real, np.asarray)
    yield from each("constant", any_real, np.asarray, order=0)  # no gradient passes, by definition
    yield from each("astype", any_real, np.asarray, dtype=np.dtype(np.float64))
    for low, high in ((-1.0, 0.5), (None, 0.5), (-1.0, None)):
        yield from each("clip", any_real, lambda x, min, max: np.clip(x, min, max), min=low, max=high)

    pairs, positive_pairs = shapes_of_two(-2, 2), shapes_of_two(0.5, 2)
    yield from each("add", pairs, lambda a, b: a - (-1.0 * b))
    yield from each("sub", pairs, lambda a, b: a + (-1.0 * b))
    yield from each("mul", pairs, lambda a, b: ((a + b) ** 2 - (a - b) ** 2) / 4)
    yield from each("div", positive_pairs, lambda a, b: a * b**-1.0)
    yield from each("divide_or_zero", positive_pairs, lambda a, b: a * b**-1.0)
    yield from each("pow", positive_pairs, lambda a, b: np.exp(b * np.log(a)))
    yield from each(
        "pow", {f"to the {n}": (real(2, 3), n) for n in (0, 1, 2, 3, -1)}, lambda a, b: np.power(a, float(b))
    )
    yield from each("pow", {"number base": (2, real(2, 3))}, lambda a, b: np.exp2(b))
    yield from each("power_slope", positive_pairs, lambda a, b: b * a ** (b - 1))
    yield from each("power_derivative", positive_pairs, lambda a, b, n: b * (b - 1) * a ** (b - 2), n=2)
    yield from each("maximum", pairs, lambda a, b: (a + b + abs(a - b)) / 2)
    yield from each("minimum", pairs, lambda a, b: (a + b - abs(a - b)) / 2)
    for name, sign in {"greater": 1, "greater_equal": 1, "less": -1, "less_equal": -1}.items():
        yield from each(name, pairs, lambda a, b, sign=sign: np.sign(a - b) == sign, order=0)
    yield from each("equal", pairs, lambda a, b: np.sign(a - b) == 0, order=0)
    yield from each("not_equal", pairs, lambda a, b: np.sign(a - b) != 0, order=0)

    mask = real(2, 3, seed=2) > 0
    yield from each(
        "where",
        {
            "same": (mask, real(2, 3), real(2, 3, seed=1)),
            "broadcast": (mask[0], real(2, 1), real()),
            "number": (mask, real(2, 3), 0.5),
            "empty": (mask[:0], real(0, 3), real(3)),
        },
        lambda c, a, b: c * a + (1 - c) * b,
    )
    yield from each(
        "masked_fill",
        {
            "same": (real(2, 3), mask),
            "broadcast": (real(2, 3), mask[0]),
            "wider": (real(3), mask),
            "empty": (real(0, 3), mask[0]),
        },
        lambda x, m, value: x * (1 - m) + m * value,
        value=0.5,
    )


# Moving elements -----------------------------------------------------------------------------------------------------


def expanded(x: Array, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Array:
    return np.ones(shape) * (x if keepdims or axis is None else np.expand_dims(x, axis))


def summed_to(x: Array, shape: tuple[int, ...]) -> Array:
    result = np.zeros(shape)
    for index in np.ndindex(x.shape):
        result[tuple(i if n > 1 else 0 for i, n in zip(index[x.ndim - len(shape) :], shape))] += x[index]
    return result


def scattered(x: Array, index: Any, shape: tuple[int, ...]) -> Array:
    places = np.arange(math.prod(shape)).reshape(shape)[index]
    return np.bincount(np.ravel(places), np.ravel(x), math.prod(shape)).reshape(shape)


INDICES: dict[str, Any] = {
    "integer": 1,
    "negative": (-1, 2),
    "all": (),
    "slice": (slice(None, None, -2), slice(1, 3)),
    "ellipsis": (..., 1),
    "new axis": (None, slice(1), None, 2),
    "empty slice": slice(0, 0),
    "repeated": np.array([0, 2, 0, 0]),
    "two arrays": (np.array([[0, 1], [0, 1]]), np.array([1, 1])),
    "array and slice": (slice(None, 2), np.array([3, 3, 0])),
    "boolean": np.arange(12).reshape(3, 4) % 3 == 0,
    "boolean rows": (np.array([True, False, True]), slice(1, None)),
    "no index": np.array([], dtype=int),
    "0-d array": np.array(2),
}


def movement() -> Iterator[Sample]:
    grid, cube, empty = real(2, 3), real(2, 3, 2), real(0, 3)
    axes = ({"axis": None}, {"axis": 0}, {"axis": -1}, {"axis": (0, 2)}, {"axis": ()})
    for keepdims in (False, True):
        yield from options_of("sum", cube, *({**axis, "keepdims": keepdims} for axis in axes))
    yield from each("sum", shapes_of_one(-2, 2), lambda x, **_: math.fsum(np.ravel(x)), axis=None, keepdims=False)
    yield from options_of("sum", empty, {"axis": 0, "keepdims": False})

    yield from options_of("expand", real(3), {"shape": (2, 3), "axis": 0, "keepdims": False}, expected=expanded)
    yield from options_of("expand", real(2, 1), {"shape": (2, 3), "axis": 1, "keepdims": True}, expected=expanded)
    yield from options_of(
        "expand",
        real(),
        {"shape": (2, 3), "axis": None, "keepdims": False},
        {"shape": (0, 3), "axis": None, "keepdims": False},
        expected=expanded,
    )
    yield from options_of("expand", real(0), {"shape": (0, 3), "axis": -1, "keepdims": False}, expected=expanded)
    yield from options_of(
        "broadcast_to",
        real(2, 1),
        {"shape": (2, 3)},
        {"shape": (4, 2, 3)},
        {"shape": (0, 2, 1)},
        expected=lambda x, shape: x + np.zeros(shape),
    )
    yield from options_of(
        "broadcast_to", real(), {"shape": ()}, {"shape": (2, 2)}, expected=lambda x, shape: x + np.zeros(shape)
    )
    yield from options_of(
        "sum_to", cube, {"shape": (2, 3, 2)}, {"shape": (3, 1)}, {"shape": (1, 3, 1)}, {"shape": ()}, expected=summed_to
    )
    yield from options_of("sum_to", empty, {"shape": (3,)}, {"shape": (1, 3)}, expected=summed_to)

    yield from options_of(
        "reshape",
        cube,
        *({"shape": s} for s in ((12,), (-1, 2), (3, 1, 4))),
        expected=lambda x, shape: np.ravel(x).reshape(shape),
    )
    yield from options_of(
        "reshape", real(4, 6)[::2, ::-3].T, {"shape": (4,)}, expected=lambda x, shape: np.ravel(x).reshape(shape)
    )
    yield from options_of("reshape", real(1, 1), {"shape": ()}, expected=lambda x, shape: x[0, 0])
    yield from options_of("reshape", empty, {"shape": (3, 0, 2)}, expected=lambda x, shape: np.zeros(shape))
    yield from options_of("squeeze", real(1, 3, 1), {"axis": None}, {"axis": 0}, {"axis": (0, -1)})
    yield from options_of("expand_dims", grid, {"axis": 0}, {"axis": -1}, {"axis": (0, 2)})
    yield from options_of("expand_dims", real(), {"axis": 0})
    yield from options_of(
        "transpose",
        cube,
        {"axes": (2, 0, 1)},
        {"axes": (-1, 1, 0)},
        expected=lambda x, axes: np.einsum(x, range(3), [i % 3 for i in axes]),
    )
    yield from options_of("transpose", empty, {"axes": (1, 0)}, expected=lambda x, axes: np.zeros((3, 0)))
    yield from options_of("swapaxes", cube, {"axis1": 0, "axis2": -1}, expected=lambda x, **_: np.einsum("abc->cba", x))
    yield from options_of("flip", grid, {"axis": None}, {"axis": 0}, {"axis": (0, 1)})
    yield from options_of("flip", real(2, 0), {"axis": 0})
    yield from options_of(
        "roll",
        grid,
        {"shift": 2, "axis": None},
        {"shift": -1, "axis": 1},
        {"shift": (1, 2), "axis": (0, 1)},
        {"shift": [1, 2], "axis": 1},
    )
    for name, sign in {"tril": 1, "triu": -1}.items():
        yield from options_of(
            name,
            real(2, 3, 4),
            *({"k": k} for k in (-1, 0, 2)),
            expected=lambda x, k, sign=sign: (
                x * (sign * (np.arange(x.shape[-1]) - np.arange(x.shape[-2])[:, None] - k) <= 0)
            ),
        )
        yield from options_of(name, real(3, 0), {"k": 0})

    for label, index in INDICES.items():
        x = real(3, 4)
        yield Sample(registry["getitem"], label, (x,), {"index": index}, lambda x, index: x[index])
        yield Sample(registry["scatter"], label, (x[index],), {"index": index, "shape": (3, 4)}, scattered)
    yield Sample(registry["getitem"], "of 0-d", (real(),), {"index": (None, ...)}, lambda x, index: x.reshape(1))
    for width in (1, (1, 2), ((0, 1), (2, 0))):
        yield from options_of(
            "pad",
            grid,
            {"pad_width": width, "value": 0.5},
            expected=lambda x, pad_width, value: np.pad(x - value, pad_width) + value,
        )
    yield from options_of("pad", empty, {"pad_width": 1, "value": 0.0}, expected=lambda x, **_: np.zeros((2, 5)))
    yield from options_of("repeat", grid, {"repeats": 2, "axis": 0}, {"repeats": np.array([1, 0, 3]), "axis": -1})

    joined = {"two": (grid, real(2, 3, seed=1)), "one": grid}
    yield from each("concatenate", {**joined, "empty": (grid, empty)}, lambda *x, axis: np.vstack(x), axis=0)
    yield from each("concatenate", {"three": (grid, real(2, 1), real(2, 2))}, lambda *x, axis: np.hstack(x), axis=-1)
    yield from each("stack", joined, lambda *x, axis: np.array(x), axis=0)
    yield from each("stack", joined, lambda *x, axis: np.moveaxis(np.array(x), 0, -1), axis=-1)
    yield from each("stack", {"0-d": (real(), real(seed=1))}, lambda *x, axis: np.array(x), axis=0)


# Reductions ----------------------------------------------------------------------------------------------------------


def length(x: Array, axis: Any) -> int:
    return x.size if axis is None else math.prod(x.shape[i] for i in np.atleast_1d(axis))


def variance(x: Array, axis: Any, keepdims: bool, ddof: float) -> Array:
    squares = (x - np.mean(x, axis=axis, keepdims=True)) ** 2
    return np.sum(squares, axis=axis, keepdims=keepdims) / (length(x, axis) - ddof)


def others(x: Array, axis: int) -> Array:
    columns = [np.prod(np.delete(x, i, axis), axis) for i in range(x.shape[axis])]
    return np.stack(columns, axis) if columns else x


def reductions() -> Iterator[Sample]:
    cube, plain = real(2, 3, 2), {"axis": None, "keepdims": False}
    choices: list[dict[str, Any]] = [
        {"axis": axis, "keepdims": k} for axis in (None, 0, (0, -1)) for k in (False, True)
    ]
    yield from options_of("mean", cube, *choices, expected=lambda x, **o: np.sum(x, **o) / length(x, o["axis"]))
    yield from options_of("mean", real(), plain)
    yield from options_of("mean", real(0, 3), {"axis": 1, "keepdims": False})
    yield from options_of("count", cube, {"axis": None}, {"axis": (0, -1)}, expected=length, order=0)  # shapes alone
    for ddof in (0.0, 1.0):
        spread: list[dict[str, Any]] = [{**choice, "ddof": ddof} for choice in choices]
        yield from options_of("var", cube, *spread, expected=variance)
        yield from options_of("std", cube, *spread, expected=lambda x, **o: variance(x, **o) ** 0.5)
    for name, end in {"max": -1, "min": 0}.items():
        yield from options_of(name, cube, *choices)
        yield from options_of(name, cube, plain, expected=lambda x, end=end, **_: np.sort(np.ravel(x))[end])
        yield from options_of(name, real(), plain)
        yield from options_of(name, real(0, 3), {"axis": 1, "keepdims": True})
    for name in ("argmax", "argmin"):
        yield from options_of(
            name, real(2, 3), {"axis": None, "keepdims": False}, {"axis": 1, "keepdims": True}, order=0
        )
    yield from options_of(
        "cumsum", cube, {"axis": 1}, {"axis": -1}, expected=lambda x, axis: np.add.accumulate(x, axis)
    )
    yield from options_of("cumsum", real(0, 3), {"axis": 0})

    with_zeros = real(3, 4) * (np.arange(12).reshape(3, 4) % 5 != 0)
    for x in (real(2, 3), with_zeros, real(2, 0), real(2, 1)):
        yield from options_of(
            "prod", x, *({"axis": 1, "keepdims": k} for k in (False, True)), expected=np.multiply.reduce
        )
    yield from options_of("prod", real(5), {"axis": 0, "keepdims": False})
    # Not differentiable itself: prod, whose rule it is, takes its second derivative through its definition.
    yield from options_of("others", with_zeros, {"axis": 0}, {"axis": -1}, expected=others, order=0)
    yield from options_of("others", real(2, 0), {"axis": 1}, expected=others, order=0)


# Products ------------------------------------------------------------------------------------------------------------

EINSUMS: dict[str, tuple[tuple[int, ...], ...]] = {
    "ij,jk->ik": ((2, 3), (3, 2)),
    "i,i->": ((3,), (3,)),
    "i,j->ij": ((2,), (3,)),
    "bij,bjk->bik": ((2, 2, 3), (2, 3, 2)),
    "ij,ij->ij": ((2, 3), (1, 3)),
    "ij,jk->ki": ((0, 3), (3, 2)),
}
ODD_EINSUMS: dict[str, tuple[tuple[int, ...], ...]] = {  # their rules need ones, identity matrices or three factors
    "ij->": ((2, 3),),
    "ij->ji": ((2, 3),),
    "ij->j": ((2, 3),),
    "ii->i": ((3, 3),),
    "ii->": ((3, 3),),
    "iij->j": ((2, 2, 3),),
    "iii->i": ((2, 2, 2),),
    "ii,ij->j": ((3, 3), (3, 2)),
    "ij,k->i": ((2, 3), (2,)),
    "bij,bjk->ik": ((2, 2, 3), (1, 3, 2)),  # a letter of length 1 broadcasts
    "ij,i->ij": ((1, 3), (2,)),
    "ij,ij,ij->": ((1, 3), (2, 3), (2, 1)),
    "ii,i->i": ((1, 1), (3,)),
    "i,ij,j->": ((2,), (2, 3), (3,)),
    "aij,ajk,kl->ail": ((2, 1, 3), (2, 3, 2), (2, 2)),
}


def products() -> Iterator[Sample]:
    yield from each(
        "matmul",
        {
            "matrices": (real(2, 3), real(3, 4)),
            "batches": (real(2, 2, 3), real(2, 3, 2)),
            "broadcast batches": (real(2, 1, 2, 3), real(3, 3, 2)),
            "matrix and batch": (real(2, 3), real(2, 3, 2)),
            "empty": (real(0, 3), real(3, 2)),
            "nothing to sum": (real(2, 0), real(0, 3)),
            "strided": (real(3, 4).T[::2], real(6, 2)[::-2]),
        },
        lambda a, b: (a[..., :, :, None] * b[..., None, :, :]).sum(-2),
    )
    yield from each(
        "dot", {"vectors": (real(3), real(3, seed=1)), "empty": (real(0), real(0))}, lambda a, b: (a * b).sum()
    )
    yield from each(
        "matvec", {"matrix": (real(2, 3), real(3)), "batch": (real(2, 2, 3), real(3))}, lambda a, b: (a * b).sum(-1)
    )
    yield from each(
        "vecmat",
        {"matrix": (real(3), real(3, 2)), "batch": (real(3), real(2, 3, 2)), "vectors": (real(2, 3), real(2, 3, 2))},
        lambda a, b: (a[..., :, None] * b).sum(-2),
    )
    yield from each(
        "outer",
        {"vectors": (real(2), real(3)), "batch": (real(2, 2), real(2, 3)), "broadcast": (real(2), real(2, 3))},
        lambda a, b: np.einsum("...i,...j->...ij", a, b),
    )
    for table, plain in ((EINSUMS, True), (ODD_EINSUMS, False)):
        for subscripts, shapes in table.items():
            inputs = tuple(real(*shape, seed=i) for i, shape in enumerate(shapes))
            yield Sample(
                registry["einsum"],
                subscripts,
                inputs,
                {"subscripts": subscripts},
                lambda *x, subscripts: np.einsum(subscripts, *x, optimize=False),
                plain=plain,
            )
    yield from options_of(
        "norm",
        real(2, 3),
        *({"axis": axis, "keepdims": k} for axis in (None, 0, (0, 1)) for k in (False, True)),
        expected=lambda x, axis, keepdims: np.linalg.norm(x, axis=axis, keepdims=keepdims),
    )
    yield from options_of("norm", real(0, 3), {"axis": 1, "keepdims": False}, expected=lambda x, **_: np.zeros(0))
    yield from options_of("norm", real(), {"axis": None, "keepdims": False}, expected=lambda x, **_: abs(x))


# What networks are made of -------------------------------------------------------------------------------------------


def exponentials(x: Array, axis: Any) -> Array:
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


def normalized(x: Array, weight: Any, bias: Any, eps: float) -> Array:
    rows = [(row - row.mean()) / math.sqrt(row.var() + eps) for row in x.reshape(-1, x.shape[-1])]
    return np.array(rows).reshape(x.shape) * (1 if weight is None else weight) + (0 if bias is None else bias)


def row_by_row(logits: Array, target: Array, ignore_index: int, label_smoothing: float, reduction: str) -> Any:
    """Cross-entropy as it is defined: -Σ q log p for each row that counts."""
    losses, counted = np.zeros(target.shape), 0
    for place in np.ndindex(target.shape):
        if target[place] != ignore_index:
            q = np.full(logits.shape[-1], label_smoothing / logits.shape[-1])
            q[target[place]] += 1 - label_smoothing
            losses[place], counted = -np.sum(q * np.log(exponentials(logits[place], -1))), counted + 1
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.sum() / counted


def attention_weights(q: Array, k: Array, mask: Any, is_causal: bool) -> Array:
    scores = np.einsum("...td,...sd->...ts", q, k) / math.sqrt(q.shape[-1])
    may = np.ones(scores.shape) if not is_causal else np.tri(*scores.shape[-2:]) * np.ones(scores.shape)
    if mask is not None and mask.dtype == bool:
        may = may * mask
    elif mask is not None:
        scores = scores + mask
    weights = np.exp(scores) * may
    total = weights.sum(-1, keepdims=True)
    return weights / np.where(total == 0, 1, total)


def attended(q: Array, k: Array, v: Array, mask: Any, is_causal: bool) -> Array:
    return np.einsum("...ts,...se->...te", attention_weights(q, k, mask, is_causal), v)


def networks() -> Iterator[Sample]:
    grid, cube = real(2, 3), real(2, 3, 2)
    for axis in (0, -1, (0, 1), None):
        yield from options_of("softmax", grid, {"axis": axis}, expected=exponentials)
        yield from options_of(
            "log_softmax", grid, {"axis": axis}, expected=lambda x, axis: np.log(exponentials(x, axis))
        )
        for k in (False, True):
            yield from options_of(
                "logsumexp", grid, {"axis": axis, "keepdims": k}, expected=lambda x, **o: np.log(np.sum(np.exp(x), **o))
            )
    yield from options_of("softmax", real(0, 3), {"axis": -1}, {"axis": 0}, expected=lambda x, axis: x)
    yield from options_of("log_softmax", real(0, 3), {"axis": -1}, expected=lambda x, axis: x)
    for name, value in {"softmax": 1.0, "log_softmax": 0.0}.items():
        yield from options_of(name, real(), {"axis": -1}, expected=lambda x, axis, value=value: value)
    yield from options_of("logsumexp", real(0, 3), {"axis": -1, "keepdims": False}, expected=lambda x, **_: np.zeros(0))
    yield from options_of("logsumexp", real(), {"axis": None, "keepdims": False}, expected=lambda x, **_: x)
    yield from each(
        "gelu",
        shapes_of_one(-2, 2),
        lambda x: x * np.vectorize(lambda t: 0.5 * math.erfc(-t / 2**0.5), otypes=[float])(x),
    )
    yield from each(
        "gelu_tanh",
        shapes_of_one(-2, 2),
        lambda x: x / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    )
    yield from each(
        "linear",
        {
            "rows": (grid, real(4, 3), real(4)),
            "batch": (real(2, 2, 3), real(4, 3), real(4)),
            "no bias": (grid, real(4, 3), None),
            "a bias for each row": (grid, real(4, 3), real(2, 4)),
            "one bias": (grid, real(4, 3), real(1)),
            "empty": (real(0, 3), real(4, 3), real(4)),
            "strided": (real(3, 4).T[::2], real(3, 4).T, real(8)[::-2]),
        },
        lambda x, w, b: np.einsum("...i,oi->...o", x, w) + (0 if b is None else b),
    )
    vector = (real(3), real(4, 3), real(4))
    yield Sample(registry["linear"], "vector", vector, {}, lambda x, w, b: w @ x + b, plain=False)
    full = (cube, real(2, low=0.5), real(2, seed=1))
    yield from each("layer_norm", {"cube": full, "row": (real(3), real(3), real(3, seed=1))}, normalized, eps=1e-5)
    yield from each("layer_norm", {"empty": (real(0, 3), real(3), real(3))}, lambda x, *_, eps: x, eps=1e-5)
    for label, inputs in {"bare": (grid, None, None), "no weight": (grid, None, real(3))}.items():
        yield Sample(registry["layer_norm"], label, inputs, {"eps": 0.1}, normalized, plain=False)

    classes = np.array([0, 2, -100, 1])
    targets = {"rows": classes, "one": classes[1], "grid": classes.reshape(2, 2)}
    for reduction, smoothing in product(("mean", "sum", "none"), (0.0, 0.2)):
        options = {"ignore_index": -100, "label_smoothing": smoothing, "reduction": reduction}
        for label, target in targets.items():
            inputs = (real(*target.shape, 3), target)
            name = f"{label}, {reduction}, {smoothing}"
            yield Sample(registry["cross_entropy"], name, inputs, options, row_by_row, plain=reduction != "none")
    yield from each(
        "mse_loss",
        {"same": (grid, real(2, 3, seed=1)), "0-d": (real(), real(seed=1))},
        lambda p, t: ((p - t) ** 2).mean(),
    )
    probable = {
        "same": (grid, real(2, 3, low=0.1, high=0.9)),
        "0-d": (real(), real(low=0.1, high=0.9)),
        "empty": (real(0), real(0)),
    }
    yield from each(
        "binary_cross_entropy_with_logits",
        probable,
        lambda x, t: -t * np.log(1 / (1 + np.exp(-x))) - (1 - t) * np.log(1 / (1 + np.exp(x))),
    )
    for label, ids in {"repeated": [[0, 2], [2, 2]], "0-d": 1, "empty": []}.items():
        yield Sample(
            registry["embedding"], label, (np.array(ids, dtype=int), real(3, 2)), {}, lambda i, w: np.eye(3)[i] @ w
        )
    yield from each(
        "dropout", {"grid": (grid, grid > 0)}, lambda x, kept, scale: np.where(kept, x * scale, 0), scale=2.0
    )
    yield from options_of("width", cube, {}, expected=lambda x: 2, order=0)  # a shape alone

    q, k, v = real(2, 3, 2), real(2, 4, 2, seed=1), real(2, 4, 3, seed=2)
    may = np.array([[True, False, True, True], [False, False, False, False], [True, True, False, False]])
    masks: dict[str, Any] = {"none": None, "boolean": may, "added": real(3, 4), "added for each": real(2, 3, 4)}
    for causal in (False, True):
        for label, mask in masks.items():
            options = {"is_causal": causal}
            name = f"{label}{', causal' * causal}"
            yield Sample(registry["attention"], name, (q, k, v, mask), options, attended)
            yield Sample(registry["attention_weights"], name, (q, k, mask), options, attention_weights)
    yield Sample(
        registry["attention"], "shared keys", (real(2, 2, 3, 2), k[0], v, None), {"is_causal": False}, attended
    )


SAMPLES = [*elementwise(), *movement(), *reductions(), *products(), *networks()]
