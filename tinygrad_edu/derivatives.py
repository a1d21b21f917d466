"""Derivatives of whole functions: products with the Jacobian and the Hessian, and these matrices themselves.

For f: x (n elements) -> y (m elements), J = dy/dx has shape y.shape + x.shape. A vector-Jacobian product vᵀJ costs one
backward pass, a Jacobian-vector product J v two (the second differentiates the first, which is linear in v).

>>> from tinygrad_edu import Tensor
>>> jacobian(lambda x: x**2, Tensor([1.0, 2.0]))
Tensor([[2., 0.],
        [0., 4.]])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_edu.autograd import enable_grad, grad
from tinygrad_edu.errors import GraphError, ShapeError
from tinygrad_edu.tensor import Tensor

Function = Callable[..., Tensor]


def _evaluate(f: Function, x: Any) -> tuple[list[Tensor], Tensor]:
    """f at leaves of its own, so that the caller's graph and gradients stay as they are."""
    given = x if isinstance(x, (tuple, list)) else [x]
    leaves = [Tensor(value, requires_grad=True) for value in given]
    with enable_grad():
        return leaves, _tensor(f(*leaves))


def _tensor(y: Any) -> Tensor:
    if not isinstance(y, Tensor):
        raise GraphError(f"the function must return a Tensor, it returned {type(y).__name__}")
    return y


def _like(x: Any, results: list[Any]) -> Any:
    """One result for one input, a tuple for several."""
    return tuple(results) if isinstance(x, (tuple, list)) else results[0]


def _zero_if_unused(found: Any, inputs: list[Tensor]) -> list[Tensor]:
    return [Tensor(np.zeros_like(x.data)) if g is None else g for g, x in zip(found, inputs, strict=True)]


def _pull(y: Tensor, inputs: list[Tensor], v: Any, create_graph: bool = False) -> list[Tensor]:
    if not y.requires_grad:
        return _zero_if_unused([None] * len(inputs), inputs)
    return _zero_if_unused(grad(y, inputs, v, create_graph=create_graph, allow_unused=True), inputs)


def _along(slopes: list[Tensor], inputs: list[Tensor], x: Any, v: Any, name: str) -> Tensor:
    """Σ slope · direction over all inputs, recorded. The directions v are shaped as x."""
    directions = list(v) if isinstance(x, (tuple, list)) else [v]
    if len(directions) != len(inputs):
        raise ShapeError(f"{name}: {len(inputs)} inputs need as many directions, got {len(directions)}")
    for point, direction in zip(inputs, directions, strict=True):
        if np.shape(direction) != point.shape:
            raise ShapeError(
                f"{name}: the direction has shape {np.shape(direction)}, the input {point.shape}: they must be equal"
            )
    with enable_grad():
        terms = [(s * Tensor(d, dtype=s.dtype)).sum() for s, d in zip(slopes, directions, strict=True)]
        return sum(terms[1:], terms[0])


def vjp(f: Function, x: Any, v: Any = None) -> tuple[Tensor, Any]:
    """f(x) and vᵀJ, in the shape of x. x may be a tuple of arguments; v is 1 by default for an f of one element."""
    inputs, y = _evaluate(f, x)
    return y.detach(), _like(x, _pull(y, inputs, v))


def jvp(f: Function, x: Any, v: Any) -> tuple[Tensor, Tensor]:
    """f(x) and J v, in the shape of f(x): how f moves when x moves along v (shaped as x)."""
    inputs, y = _evaluate(f, x)
    # vᵀJ is linear in v, so where it is differentiated is all one
    dummy = Tensor(np.ones_like(y.data), requires_grad=y.requires_grad)
    products = _pull(y, inputs, dummy, create_graph=True)
    return y.detach(), _pull(_along(products, inputs, x, v, "jvp"), [dummy], None)[0]


def jacobian(f: Function, x: Any) -> Any:
    """dy/dx, shape y.shape + x.shape: one backward pass for each element of y. A tuple x gives a tuple."""
    inputs, y = _evaluate(f, x)
    rows = []
    for index in np.ndindex(y.shape):
        one = np.zeros_like(y.data)
        one[index] = 1
        rows.append(_pull(y, inputs, one))
    found = [
        Tensor(np.array([row[i].data for row in rows], dtype=point.dtype).reshape(y.shape + point.shape))
        for i, point in enumerate(inputs)
    ]
    return _like(x, found)


def hessian(f: Function, x: Any) -> Any:
    """d²f/dx², shape x.shape + x.shape, for an f with one element as its result. A tuple x gives a tuple of tuples."""

    def slope(i: int) -> Function:
        return lambda *points: _pull(_scalar(_tensor(f(*points)), "hessian"), list(points), None, create_graph=True)[i]

    return _like(x, [jacobian(slope(i), x) for i in range(len(x) if isinstance(x, (tuple, list)) else 1)])


def hvp(f: Function, x: Any, v: Any) -> tuple[Tensor, Any]:
    """f(x) and the Hessian times v, without building the Hessian: a backward pass through a backward pass."""
    inputs, y = _evaluate(f, x)
    slopes = _pull(_scalar(y, "hvp"), inputs, None, create_graph=True)
    return y.detach(), _like(x, _pull(_along(slopes, inputs, x, v, "hvp"), inputs, None))


def _scalar(y: Tensor, name: str) -> Tensor:
    if y.size != 1:
        raise GraphError(f"{name}: the function must return one element, it returned shape {y.shape}")
    return y
