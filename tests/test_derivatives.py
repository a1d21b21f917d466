"""Jacobians, Hessians and products with them, against PyTorch and closed forms."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tests.requires import require_torch
from tinygrad_edu import GraphError, ShapeError, Tensor

rng = np.random.default_rng(0)
A = rng.normal(size=(3, 4))
X = rng.normal(size=4)
M = rng.normal(size=(2, 4))


def close(one: Any, other: Any) -> None:
    np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-9, atol=1e-12)


# Functions that read the same with our tensors and PyTorch's, and the points where they are differentiated.
FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "elementwise": (lambda x: (x * x).exp() - x.tanh(), (X,)),
    "matrix to matrix": (lambda m: m @ m.mT, (M,)),
    "product": (lambda x, m: m @ x, (X, M)),
    "three arguments": (lambda x, m, s: (m * x).sum() * s, (X, M, np.array(0.7))),
    "broadcast": (lambda x, s: x[1:] * s + s, (X, np.array([0.5]))),
    "unused argument": (lambda x, m: x.sigmoid(), (X, M)),
    "scalar": (lambda s: s.exp(), (np.array(0.3),)),
}
SCALARS: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "cubic": (lambda x: (x * x * x).sum() + x[0] * x[1], (X,)),
    "two arguments": (lambda x, m: ((m @ x).tanh() * m[:, 0]).sum(), (X, M)),
    "linear": (lambda x: (3 * x).sum(), (X,)),
    "linear in each": (lambda x, m: (m @ x).sum(), (X, M)),
    "unused argument": (lambda x, m: (x * x).sum(), (X, M)),
    "log of a sum": (lambda x: x.exp().sum().log(), (X,)),
}


def both(arguments: tuple[np.ndarray, ...]) -> tuple[Any, Any]:
    """The same points for us and PyTorch; one point alone is passed without a tuple."""
    torch = require_torch()
    ours, theirs = tuple(map(Tensor, arguments)), tuple(map(torch.tensor, arguments))
    return (ours[0], theirs[0]) if len(arguments) == 1 else (ours, theirs)


def all_close(one: Any, other: Any) -> None:
    """Compare tensors, or tuples of them to any depth."""
    assert isinstance(one, tuple) == isinstance(other, tuple)
    if isinstance(one, tuple):
        for mine, its in zip(one, other, strict=True):
            all_close(mine, its)
    else:
        assert one.dtype == np.float64
        assert one.shape == tuple(other.shape)
        close(one, other.detach().numpy())


class TestParity:
    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_jacobian(self, name: str) -> None:
        f, arguments = FUNCTIONS[name]
        ours, theirs = both(arguments)
        all_close(te.jacobian(f, ours), require_torch().autograd.functional.jacobian(f, theirs))

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_products(self, name: str) -> None:
        torch = require_torch()
        f, arguments = FUNCTIONS[name]
        ours, theirs = both(arguments)
        upstream = np.cos(np.arange(f(*map(Tensor, arguments)).size)).reshape(f(*map(Tensor, arguments)).shape)
        all_close(te.vjp(f, ours, upstream), torch.autograd.functional.vjp(f, theirs, torch.tensor(upstream)))
        direction, their_direction = both(tuple(np.sin(1 + x) for x in arguments))
        all_close(te.jvp(f, ours, direction), torch.autograd.functional.jvp(f, theirs, their_direction))

    @pytest.mark.parametrize("name", SCALARS)
    def test_hessian(self, name: str) -> None:
        f, arguments = SCALARS[name]
        ours, theirs = both(arguments)
        all_close(te.hessian(f, ours), require_torch().autograd.functional.hessian(f, theirs))

    @pytest.mark.parametrize("name", SCALARS)
    def test_hessian_times_a_vector(self, name: str) -> None:
        f, arguments = SCALARS[name]
        ours, theirs = both(arguments)
        direction, their_direction = both(tuple(np.sin(1 + x) for x in arguments))
        all_close(te.hvp(f, ours, direction), require_torch().autograd.functional.hvp(f, theirs, their_direction))


class TestClosedForms:
    @pytest.mark.parametrize("product", [te.vjp, te.jvp, te.hvp])
    def test_products_come_with_the_value(self, product: Callable[..., Any]) -> None:
        value, _ = product(lambda x: (x**3).sum(), X, 1.0 if product is te.vjp else X)
        assert float(value) == pytest.approx((X**3).sum())
        assert not value.requires_grad

    def test_the_jacobian_of_a_linear_map_is_its_matrix(self) -> None:
        jacobian = te.jacobian(lambda x: Tensor(A) @ x, Tensor(X))
        close(jacobian, A)
        value, product = te.jvp(lambda x: Tensor(A) @ x, Tensor(X), X[::-1])
        close(value, A @ X)
        close(product, A @ X[::-1])
        close(te.vjp(lambda x: Tensor(A) @ x, Tensor(X), [1.0, 2.0, 3.0])[1], [1, 2, 3] @ A)

    def test_the_hessian_of_a_quadratic_form(self) -> None:
        square = A.T @ A + np.arange(16).reshape(4, 4)

        def f(x: Tensor) -> Tensor:
            return x @ (Tensor(square) @ x)

        close(te.hessian(f, Tensor(X)), square + square.T)
        close(te.hvp(f, Tensor(X), X)[1], (square + square.T) @ X)

    def test_the_jacobian_of_softmax_goes_through_its_definition(self) -> None:
        p = F.softmax(Tensor(X)).data
        expected = np.diag(p) - np.outer(p, p)
        close(te.jacobian(F.softmax, Tensor(X)), expected)
        close(te.jvp(F.softmax, Tensor(X), A[0])[1], expected @ A[0])
        close(te.hessian(lambda x: F.logsumexp(x), Tensor(X)), expected)

    def test_the_identity(self) -> None:
        close(te.jacobian(lambda x: x, Tensor(X)), np.eye(4))
        close(te.jvp(lambda x: x, Tensor(X), A[0])[1], A[0])

    def test_the_hessian_of_a_linear_function_is_zero(self) -> None:
        assert te.hessian(lambda x: x.sum(), Tensor(X)).tolist() == np.zeros((4, 4)).tolist()
        assert te.hvp(lambda x: x.sum(), Tensor(X), X)[1].tolist() == [0] * 4

    def test_a_function_that_does_not_depend_on_its_input(self) -> None:
        constant = Tensor(A[:, 0])
        assert te.jacobian(lambda x: constant, Tensor(X)).tolist() == np.zeros((3, 4)).tolist()
        assert te.jvp(lambda x: constant, Tensor(X), X)[1].tolist() == [0] * 3
        assert te.vjp(lambda x: constant, Tensor(X), A[:, 1])[1].tolist() == [0] * 4
        assert te.hessian(lambda x: Tensor(2.0), Tensor(X)).tolist() == np.zeros((4, 4)).tolist()
        assert te.hvp(lambda x: Tensor(2.0), Tensor(X), X)[1].tolist() == [0] * 4

    def test_integers_do_not_move(self) -> None:
        assert te.jvp(lambda x: x.argmax(), Tensor(X), X)[1].item() == 0
        assert te.jacobian(lambda x: x.argmax(), Tensor(X)).tolist() == [0] * 4

    def test_no_elements(self) -> None:
        assert te.jacobian(lambda x: x[:0], Tensor(X)).shape == (0, 4)
        assert te.jacobian(lambda x: x.sum(), Tensor(np.empty((2, 0)))).shape == (2, 0)

    def test_hvp_is_the_hessian_times_the_direction(self) -> None:
        def f(x: Tensor) -> Tensor:
            return F.gelu(Tensor(A) @ x.tanh()).sum()

        value, product = te.hvp(f, Tensor(X), A[1])
        close(value, f(Tensor(X)))
        close(product, te.hessian(f, Tensor(X)).data @ A[1])


CALLS: dict[str, Callable[[Callable[[Tensor], Tensor], Tensor], Any]] = {
    "vjp": lambda f, x: te.vjp(f, x)[1],
    "jvp": lambda f, x: te.jvp(f, x, np.ones(x.shape))[1],
    "jacobian": te.jacobian,
    "hessian": te.hessian,
    "hvp": lambda f, x: te.hvp(f, x, np.ones(x.shape))[1],
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
class TestManners:
    def test_the_tensors_of_the_caller_stay_as_they_are(self, call: Callable[..., Any]) -> None:
        x, other = Tensor(X, requires_grad=True), Tensor(X, requires_grad=True)
        middle = other * 2
        result = call(lambda point: (point**3 * middle * other).sum(), x)
        assert x.grad is None
        assert other.grad is None
        assert x.is_leaf
        close(x, X)
        assert not result.requires_grad

        constant = Tensor(X)
        call(lambda point: (point**3).sum(), constant)
        assert not constant.requires_grad

    def test_works_where_nothing_is_recorded(self, call: Callable[..., Any]) -> None:
        def f(x: Tensor) -> Tensor:
            return (x**3).sum()

        with te.no_grad():
            inside = call(f, Tensor(X))
            assert not (Tensor(1.0, requires_grad=True) * 2).requires_grad
        close(inside, call(f, Tensor(X)))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_keeps_the_dtype(self, call: Callable[..., Any], dtype: Any) -> None:
        assert call(lambda x: (x**3).sum(), Tensor(X.astype(dtype))).dtype == dtype

    def test_takes_arrays_too(self, call: Callable[..., Any]) -> None:
        close(call(lambda x: (x**3).sum(), X), call(lambda x: (x**3).sum(), Tensor(X)))

    def test_the_function_must_return_a_tensor(self, call: Callable[..., Any]) -> None:
        with pytest.raises(GraphError, match="must return a Tensor, it returned float"):
            call(lambda x: 3.0, Tensor(X))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: te.hessian(lambda x: x, Tensor(X)), GraphError, r"hessian: .* one element, it returned shape \(4,\)"),
        (lambda: te.hvp(lambda x: x, Tensor(X), X), GraphError, r"hvp: .* one element, it returned shape \(4,\)"),
        (lambda: te.vjp(lambda x: x * 2, Tensor(X)), GraphError, "needs a gradient of that shape"),
        (lambda: te.vjp(lambda x: x * 2, Tensor(X), 1.0), GraphError, r"gradient has shape \(\), the output .* \(4,\)"),
        (
            lambda: te.jvp(lambda x: x, Tensor(X), 1.0),
            ShapeError,
            r"jvp: the direction has shape \(\), the input \(4,\)",
        ),
        (lambda: te.hvp(lambda x: x.sum(), Tensor(X), 1.0), ShapeError, r"hvp: the direction has shape \(\)"),
        (lambda: te.jvp(lambda x, y: x, (X, X), (X,)), ShapeError, "jvp: 2 inputs need as many directions, got 1"),
        (lambda: te.jacobian(lambda x: x, np.array([1, 2])), TypeError, "only floats have gradients"),
    ],
)
def test_refusals_teach(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
