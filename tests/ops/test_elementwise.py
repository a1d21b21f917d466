"""Stability far out, the documented choices at kinks and ties, and the accuracy of erf."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tinygrad_edu import Tensor
from tinygrad_edu.ops import elementwise


def slope(f: Callable[..., Tensor], *points: Any, dtype: Any = np.float64) -> list[Any]:
    """The gradient of f, summed, at each of the points."""
    leaves = [Tensor(x, dtype=dtype, requires_grad=True) for x in points]
    return [g.tolist() for g in te.grad(f(*leaves).sum(), leaves)]


# Far out: every warning is an error in these tests -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "values", "slopes"),
    [
        (F.sigmoid, [0, 0.5, 1], [0, 0.25, 0]),
        (F.softplus, [0, math.log(2), 1e4], [0, 0.5, 1]),
        (F.silu, [0, 0, 1e4], [0, 0.5, 1]),
        (F.gelu, [0, 0, 1e4], [0, 0.5, 1]),
        (lambda x: F.gelu(x, "tanh"), [0, 0, 1e4], [0, 0.5, 1]),
        (F.elu, [-1, 0, 1e4], [0, 1, 1]),
        (F.tanh, [-1, 0, 1], [0, 1, 0]),
        (lambda x: te.apply(elementwise.erf, x), [-1, 0, 1], [0, 2 / math.sqrt(math.pi), 0]),
        (F.softmax, [0, 0, 1], [0, 0, 0]),
        (F.log_softmax, [-2e4, -1e4, 0], [1, 1, -2]),
        (F.logsumexp, 1e4, [0, 0, 1]),
        (lambda x: F.cross_entropy(x, 0), 2e4, [-1, 0, 1]),
        (lambda x: F.cross_entropy(x, 2), 0, [0, 0, 0]),
        (
            lambda x: F.binary_cross_entropy_with_logits(x, Tensor([1.0, 0.0, 0.0]), reduction="none"),
            [1e4, math.log(2), 1e4],
            [-1, 0.5, 1],
        ),
    ],
)
def test_ten_thousand_is_not_far(f: Any, values: Any, slopes: list[float]) -> None:
    x = Tensor([-1e4, 0.0, 1e4], requires_grad=True)
    y = f(x)
    y.backward(np.ones(y.shape))
    np.testing.assert_allclose(y.data, values, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(x.grad.data, slopes, rtol=1e-6, atol=1e-30)  # type: ignore[union-attr]
    assert y.dtype == x.grad.dtype == np.float32  # type: ignore[union-attr]


def test_small_differences_survive() -> None:
    x = np.array([1e-10, -1e-10])
    np.testing.assert_allclose(Tensor(x).expm1().data, x, rtol=1e-9)
    np.testing.assert_allclose(Tensor(x).log1p().data, x, rtol=1e-9)
    np.testing.assert_allclose(F.softplus(Tensor([-40.0], dtype=np.float64)).data, math.exp(-40), rtol=1e-15)


def test_a_large_offset_does_not_blur_a_log_softmax() -> None:
    near, far = Tensor([1.0, 0.0]), Tensor([10001.0, 10000.0])
    np.testing.assert_allclose(F.log_softmax(far).data, F.log_softmax(near).data, rtol=1e-6)
    np.testing.assert_allclose(F.cross_entropy(far, 0).data, F.cross_entropy(near, 0).data, rtol=1e-6)


def test_everything_masked_has_softmax_zero_and_no_gradient() -> None:
    x = Tensor([[-np.inf, -np.inf], [-np.inf, 0.0]], requires_grad=True)
    y = F.softmax(x)
    assert y.tolist() == [[0, 0], [0, 1]]
    y.backward(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert x.grad.tolist() == [[0, 0], [0, 0]]  # type: ignore[union-attr]
    assert F.logsumexp(x, axis=-1).tolist() == [-np.inf, 0]
    (twice,) = te.grad((F.softmax(x) ** 2).sum(), [x], create_graph=True)
    assert te.grad(twice.sum(), [x])[0].tolist() == [[0, 0], [0, 0]]


# Kinks and ties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "point", "expected"),
    [
        (lambda x: x.abs(), [-1.0, 0.0, -0.0, 1.0], [-1, 0, 0, 1]),
        (lambda x: x.relu(), [-1.0, 0.0, -0.0, 1.0], [0, 0, 0, 1]),
        (lambda x: F.leaky_relu(x, 0.1), [-1.0, 0.0, 1.0], [0.1, 0.1, 1]),
        (lambda x: F.elu(x, 0.5), [0.0, 1.0], [0.5, 1]),
        (lambda x: x.clip(-1, 1), [-2.0, -1.0, 0.0, 1.0, 2.0], [0, 1, 1, 1, 0]),
        (lambda x: x.clip(min=0.0), [-1.0, 0.0, 5.0], [0, 1, 1]),
        (lambda x: x.max(), [1.0, 3.0, 3.0, 3.0], [0, 1 / 3, 1 / 3, 1 / 3]),
        (lambda x: x.min(), [1.0, 1.0, 3.0], [0.5, 0.5, 0]),
        (lambda x: x.max(axis=0), [[1.0, 2.0], [1.0, 3.0]], [[0.5, 0], [0.5, 1]]),
        (lambda x: te.maximum(x, x), [1.0, 2.0], [1, 1]),
        (lambda x: te.maximum(x, 0.0), [-1.0, 0.0, 1.0], [0, 0.5, 1]),
        (lambda x: te.minimum(0.0, x), [-1.0, 0.0, 1.0], [1, 0.5, 0]),
        (F.norm, [0.0, 0.0], [0, 0]),
        (lambda x: F.norm(x, axis=1), [[0.0, 0.0], [3.0, 4.0]], [[0, 0], [0.6, 0.8]]),
        (lambda x: F.norm(x, ord=1), [0.0, -2.0], [0, -1]),
        (lambda x: x.std(), [2.0, 2.0, 2.0], [0, 0, 0]),
        (lambda x: x**0, [0.0, 2.0], [0, 0]),
        (lambda x: x**1, [0.0, -2.0], [1, 1]),
        (lambda x: x**2, [0.0, -2.0], [0, -4]),
        (lambda x: x**1.5, [0.0, 4.0], [0, 3]),
        (lambda x: x ** Tensor([0.0, 1.0, 2.0, 0.5], dtype=np.float64), [0.0, 0.0, 0.0, 0.0], [0, 1, 0, np.inf]),
        (lambda x: Tensor(0.0, dtype=np.float64) ** x, [1.0, 2.0], [0, 0]),
        (lambda x: 0.0**x, [1.0, 2.0], [0, 0]),
        (lambda x: x.prod(), [0.0, 2.0, 3.0], [6, 0, 0]),
        (lambda x: x.prod(), [0.0, 2.0, 0.0], [0, 0, 0]),
    ],
)
def test_the_gradient_at_a_kink_is_the_documented_choice(f: Any, point: Any, expected: Any) -> None:
    np.testing.assert_allclose(slope(f, point)[0], expected, rtol=1e-15)


@pytest.mark.parametrize("f", [lambda x: x.sqrt(), lambda x: x**0.5], ids=["sqrt", "power"])
def test_the_root_is_infinitely_steep_at_zero_and_says_so(f: Any) -> None:
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert slope(f, [0.0]) == [[np.inf]]


def test_dividing_by_zero_or_taking_its_logarithm_is_zero_where_that_was_asked_for() -> None:
    assert elementwise.divide_or_zero(np.array([1.0, 1.0]), np.array([0.0, 2.0])).tolist() == [0, 0.5]
    assert elementwise.log_or_zero(np.array([0.0, 1.0])).tolist() == [0, 0]


def test_ties_between_two_are_shared() -> None:
    assert slope(te.maximum, [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == [[0, 0.5, 1], [1, 0.5, 0]]
    assert slope(te.minimum, [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == [[1, 0.5, 0], [0, 0.5, 1]]


@pytest.mark.parametrize("f", [lambda x: F.norm(x), lambda x: x.std(), lambda x: (x**2).sum()])
def test_second_derivatives_at_a_kink_are_finite(f: Any) -> None:
    x = Tensor([0.0, 0.0], requires_grad=True)
    (first,) = te.grad(f(x), [x], create_graph=True)
    (second,) = te.grad(first.sum(), [x], allow_unused=True)
    assert second is None or np.isfinite(second.data).all()


# erf -----------------------------------------------------------------------------------------------------------------


def test_erf_is_as_good_as_the_c_library() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20_001), np.geomspace(1e-300, 1, 1000)])
    exact = np.array([math.erf(t) for t in x])
    assert np.max(np.abs(elementwise.erf(x) - exact) / np.maximum(np.abs(exact), 1e-300)) < 1e-15


def test_erf_in_float32_is_off_by_a_few_units_in_the_last_place() -> None:
    x = np.linspace(-7, 7, 20_000, dtype=np.float32)
    exact = np.array([math.erf(t) for t in x])
    found = elementwise.erf(x)
    assert found.dtype == np.float32
    assert np.max(np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float32))) < 8


def test_erf_at_the_ends() -> None:
    assert elementwise.erf(np.array([np.inf, -np.inf, 0.0])).tolist() == [1, -1, 0]
    assert np.isnan(elementwise.erf(np.array(np.nan)))
    assert np.signbit(elementwise.erf(np.array(-0.0)))


# dtypes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [
    lambda x: x + 1.5, lambda x: 1 - x, lambda x: x * 2.0, lambda x: 2 / x, lambda x: x / 3, lambda x: x**2,
    lambda x: x**0.5, lambda x: 2.0**x, lambda x: 2**x, lambda x: te.maximum(x, 0.5), lambda x: te.minimum(1, x),
    lambda x: te.where(x > 1, x, 0.0), lambda x: te.where(x > 1, -1e9, x), lambda x: x.masked_fill(x > 1, -np.inf),
    lambda x: x.clip(0.5, 1), lambda x: x.pad(1, 0.5), lambda x: x.mean(), lambda x: x.var(ddof=1), lambda x: x.std(),
    lambda x: x.cumsum(), lambda x: x.prod(), lambda x: F.norm(x), lambda x: F.layer_norm(x), lambda x: F.gelu(x),
    lambda x: F.dropout(x, 0.3), lambda x: te.einsum("i,i->", x, x),
    lambda x: F.cross_entropy(x, 1, label_smoothing=0.1),
    lambda x: F.cross_entropy(x, np.array([0.5, 0.5, 0.0])), lambda x: F.leaky_relu(x, 0.1), lambda x: F.elu(x, 2.0),
])  # fmt: skip
def test_python_numbers_do_not_change_the_dtype(f: Any) -> None:
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = f(x)
    (g,) = te.grad(y.sum(), [x], create_graph=True)
    assert y.dtype == g.dtype == np.float32


def test_erf_and_gelu_in_float16_are_computed_in_float32() -> None:
    x = np.linspace(-8, 8, 65).astype(np.float16)
    exact = [math.erf(float(v)) for v in x]
    assert elementwise.erf(x).dtype == np.float16
    np.testing.assert_allclose(elementwise.erf(x), exact, atol=1e-3)
    np.testing.assert_allclose(slope(F.gelu, [4.0, 6.0], dtype=np.float16)[0], [1, 1], atol=2e-3)


@pytest.mark.parametrize("constant", [float, Tensor], ids=["number", "tensor"])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
def test_every_derivative_of_a_power_exists_at_zero(exponent: int, constant: Any) -> None:
    x = Tensor([0.0, -1.0], dtype=np.float64, requires_grad=True)
    y = x ** constant(float(exponent))
    for order in range(1, 6):
        (y,) = te.grad(y.sum(), [x], create_graph=True)
        expected = math.perm(exponent, order) * np.array([0.0, -1.0]) ** max(exponent - order, 0)
        np.testing.assert_array_equal(y, expected)
