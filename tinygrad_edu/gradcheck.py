"""gradcheck: are the gradients right? Compares them with finite differences.

(f(x + h) - f(x - h)) / 2h is off by O(h²) and by rounding, ε/h: h = 1e-6 balances the two in float64, where ε = 2e-16.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_edu.autograd import enable_grad, grad
from tinygrad_edu.errors import GraphError
from tinygrad_edu.ops.op import Op
from tinygrad_edu.tensor import Tensor


class GradientError(GraphError):
    """A gradient differs from finite differences: names the op, the input, the element and both values."""


def gradcheck(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 1,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-4,
) -> bool:
    """Check the gradients of f with respect to every float input, in float64.

    f: a function of tensors that returns a tensor; an Op will do. Inputs that are no floats are passed on as they are.
    order: 2 also checks the gradients of the gradients, and the gradients that create_graph=True computes.
    Returns True, or raises GradientError. Keep the inputs away from kinks, where the two sides differ.

    >>> gradcheck(lambda x: (x * x).sum(), Tensor([1.0, 2.0]), order=2)
    True
    """
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order must be 1 or 2, got {order}; for more, check a function that calls te.grad")
    leaves = [_leaf(x) for x in inputs]
    checked = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise GraphError("gradcheck: no input is a float tensor, so there is nothing to check")
    name = f.name if isinstance(f, Op) else getattr(f, "__name__", "f")
    with enable_grad():
        for create_graph in (False, True)[:order]:
            _compare(f, leaves, checked, name, eps, atol, rtol, create_graph)
        if order >= 2 and f(*leaves).requires_grad:
            _check_second(f, leaves, checked, name, eps, atol, rtol)
    return True


def _leaf(x: Any) -> Any:
    array = np.asarray(x) if isinstance(x, (Tensor, np.ndarray, float, list)) else None
    if array is None or array.dtype.kind != "f":
        return x
    return Tensor(array, dtype=np.float64, requires_grad=True)


def _weights(shape: tuple[int, ...]) -> np.ndarray:
    """Fixed and all different, so that no two errors cancel in the weighted sum that is checked."""
    return np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape) + 1.5


def _compare(
    f: Any,
    leaves: list[Any],
    checked: list[int],
    name: str,
    eps: float,
    atol: float,
    rtol: float,
    create_graph: bool = False,
) -> None:
    output = f(*leaves)
    if not isinstance(output, Tensor):
        raise GraphError(f"gradcheck: {name} must return a Tensor, it returned {type(output).__name__}")
    weights = _weights(output.shape)
    found: Sequence[Any] = [None] * len(checked)
    if output.requires_grad:
        found = grad(output, [leaves[i] for i in checked], weights, create_graph, allow_unused=True)
    for i, analytic in zip(checked, found, strict=True):
        for index in np.ndindex(leaves[i].shape):
            numeric = _difference(f, leaves, i, index, eps, weights)
            value = 0.0 if analytic is None else float(analytic.data[index])
            if not abs(value - numeric) <= atol + rtol * abs(numeric):  # NaN fails too
                made = f" (made by {output.op.name})" if output.op is not None and output.op.name != name else ""
                raise GradientError(
                    f"{name}{made}: the gradient of input {i} at element {index} is {value:.8g}, but finite "
                    f"differences give {numeric:.8g}"
                )


def _difference(f: Any, leaves: list[Any], i: int, index: tuple[int, ...], eps: float, weights: np.ndarray) -> float:
    """The central difference of Σ weights ⊙ f along one element of one input."""
    sides = []
    for h in (eps, -eps):
        moved = leaves[i].data.copy()
        moved[index] += h
        point = [Tensor(moved, requires_grad=True) if j == i else x for j, x in enumerate(leaves)]
        sides.append(float(np.sum(f(*point).data * weights)))
    return (sides[0] - sides[1]) / (2 * eps)


def _check_second(
    f: Any, leaves: list[Any], checked: list[int], name: str, eps: float, atol: float, rtol: float
) -> None:
    """The same check on dL/dx as a function of the inputs and of the gradient that arrives."""

    def slope(*arguments: Any) -> Tensor:
        *points, upstream = arguments
        output = f(*points)
        wanted = [points[i] for i in checked]
        found = grad(output, wanted, upstream, create_graph=True, allow_unused=True)
        parts = [(g * _weights(g.shape)).sum() for g in found if g is not None]
        total: Tensor = sum(parts[1:], parts[0])
        return total

    upstream = Tensor(_weights(f(*leaves).shape), requires_grad=True)
    _compare(slope, [*leaves, upstream], [*checked, len(leaves)], f"gradient of {name}", eps, atol, rtol)
