"""Properties that hold for all inputs, hunted by Hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_edu as te
from tests.samples import real, summed_to
from tinygrad_edu import Tensor

bounded = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
OPERATIONS: dict[str, tuple[Any, Any, Any]] = {  # the value, and what each side is multiplied with on the way back
    "+": (lambda a, b: a + b, lambda a, b: 1.0, lambda a, b: 1.0),
    "-": (lambda a, b: a - b, lambda a, b: 1.0, lambda a, b: -1.0),
    "*": (lambda a, b: a * b, lambda a, b: b, lambda a, b: a),
    "/": (lambda a, b: a / b, lambda a, b: 1 / b, lambda a, b: -a / b**2),
    "**": (lambda a, b: a**b, lambda a, b: b * a ** (b - 1), lambda a, b: a**b * np.log(a)),
}


def leaf(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return Tensor(real(*shape, low=0.5, high=2, seed=seed), requires_grad=True)


def pulled(y: Tensor, *inputs: Tensor) -> list[Any]:
    """The gradients that arrive when G, all different, is sent back through y."""
    return [g.data for g in te.grad(y, list(inputs), upstream(y.shape))]


def upstream(shape: tuple[int, ...]) -> Any:
    return real(*shape, seed=9)


@bounded
@given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3),
    st.sampled_from(list(OPERATIONS)),
)
def test_a_broadcast_is_undone_by_summing(shapes: Any, sign: str) -> None:
    f, left, right = OPERATIONS[sign]
    a, b = (leaf(shape, seed) for seed, shape in enumerate(shapes.input_shapes))
    y = f(a, b)
    assert y.shape == shapes.result_shape
    for g, x, factor in zip(pulled(y, a, b), (a, b), (left, right), strict=True):
        np.testing.assert_allclose(
            g, summed_to(upstream(y.shape) * factor(a.data, b.data), x.shape), rtol=1e-9, atol=1e-9
        )


@bounded
@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3))
def test_where_sends_each_gradient_to_one_side(shapes: Any) -> None:
    condition = real(*shapes.input_shapes[0]) > 0
    a, b = (leaf(shape, seed) for seed, shape in enumerate(shapes.input_shapes[1:]))
    y = te.where(condition, a, b)
    np.testing.assert_array_equal(y.data, np.where(condition, a.data, b.data))
    for g, x, chosen in zip(pulled(y, a, b), (a, b), (condition, ~condition), strict=True):
        np.testing.assert_allclose(g, summed_to(upstream(y.shape) * chosen, x.shape), rtol=1e-9, atol=1e-9)


@bounded
@given(st.data())
def test_basic_indexing_scatters_its_gradient(data: st.DataObject) -> None:
    x = leaf(data.draw(shapes))
    index = data.draw(hnp.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True))
    y = x[index]
    expected = np.zeros(x.shape)
    expected[index] += upstream(y.shape)
    np.testing.assert_array_equal(y.data, x.data[index])
    np.testing.assert_array_equal(pulled(y, x)[0], expected)


@bounded
@given(st.data())
def test_index_arrays_add_up_what_they_read_more_than_once(data: st.DataObject) -> None:
    x = leaf(data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=3)))
    index = data.draw(
        hnp.integer_array_indices(x.shape, result_shape=hnp.array_shapes(max_dims=2, min_side=0, max_side=4))
    )
    y = x[index]
    places = np.arange(x.size).reshape(x.shape)[index].ravel()
    np.testing.assert_array_equal(y.data, x.data[index])
    expected = np.bincount(places, upstream(y.shape).ravel(), minlength=x.size).reshape(x.shape)
    np.testing.assert_allclose(pulled(y, x)[0], expected, rtol=1e-12, atol=1e-12)


@bounded
@given(st.data(), hnp.array_shapes(max_dims=4, max_side=3), st.booleans())
def test_reductions_over_any_axes(data: st.DataObject, shape: tuple[int, ...], keepdims: bool) -> None:
    axes = data.draw(
        st.none() | hnp.valid_tuple_axes(len(shape), min_size=0) | st.integers(-len(shape), len(shape) - 1)
    )
    options: dict[str, Any] = {"axis": axes, "keepdims": keepdims}
    x = leaf(shape)
    y = x.sum(**options)
    g = np.ones(shape) * np.reshape(upstream(y.shape), np.sum(x.data, axis=axes, keepdims=True).shape)
    counted = x.size // y.size
    expected = {
        "sum": g,
        "mean": g / counted,
        "var": g * 2 * (x.data - x.data.mean(axis=axes, keepdims=True)) / counted,
        "max": g * (x.data == x.data.max(axis=axes, keepdims=True)),  # all elements differ
        "min": g * (x.data == x.data.min(axis=axes, keepdims=True)),
    }
    for name, gradient in expected.items():
        y = getattr(x, name)(**options)
        np.testing.assert_allclose(y.data, getattr(np, name)(x.data, **options), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(pulled(y, x)[0], gradient, rtol=1e-9, atol=1e-9)


@bounded
@given(st.data(), shapes)
def test_rearranging_and_back_is_the_identity_for_values_and_gradients(
    data: st.DataObject, shape: tuple[int, ...]
) -> None:
    x = leaf(shape)
    order = data.draw(st.permutations(range(len(shape))))
    back = tuple(int(i) for i in np.argsort(order))
    y = x.transpose(*order).transpose(*back) if shape else x.transpose()
    y = y.reshape((1, y.size)).reshape(shape).flip().flip()
    np.testing.assert_array_equal(y.data, x.data)
    np.testing.assert_array_equal(pulled(y, x)[0], upstream(shape))


@bounded
@given(st.data(), hnp.array_shapes(max_dims=3, max_side=4))
def test_what_is_split_can_be_joined_again(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    cuts = sorted(data.draw(st.lists(st.integers(0, shape[axis]), max_size=3)))
    x = leaf(shape)
    parts = x.split(cuts, axis)
    for part, expected in zip(parts, np.split(x.data, cuts, axis), strict=True):
        np.testing.assert_array_equal(part.data, expected)
    y = te.concatenate(parts, axis)
    np.testing.assert_array_equal(y.data, x.data)
    np.testing.assert_array_equal(pulled(y, x)[0], upstream(shape))


@st.composite
def contractions(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    """Subscripts with repeated letters, traces and sums, and the shapes they fit."""
    letters = "abcd"
    sizes = {letter: draw(st.integers(1, 3)) for letter in letters}
    terms = [draw(st.text(letters, max_size=3)) for _ in range(draw(st.integers(1, 3)))]
    found = sorted(set("".join(terms)))
    result = "".join(draw(st.permutations(found))[: draw(st.integers(0, len(found)))])
    return ",".join(terms) + "->" + result, [tuple(sizes[c] for c in term) for term in terms]


@bounded
@given(contractions())
def test_einsum_is_numpys_and_its_gradient_is_that_of_finite_differences(
    case: tuple[str, list[tuple[int, ...]]],
) -> None:
    subscripts, operands = case
    inputs = [leaf(shape, seed) for seed, shape in enumerate(operands)]
    y = te.einsum(subscripts, *inputs)
    np.testing.assert_allclose(y.data, np.einsum(subscripts, *(x.data for x in inputs)), rtol=1e-12)
    assert te.gradcheck(lambda *x: te.einsum(subscripts, *x), *inputs)


@bounded
@given(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, min_side=0, max_side=3))
def test_matmul_of_all_shapes(shapes: Any) -> None:
    a, b = (leaf(shape, seed) for seed, shape in enumerate(shapes.input_shapes))
    y = a @ b
    np.testing.assert_allclose(y.data, np.matmul(a.data, b.data), rtol=1e-12)
    (ga, gb), g = pulled(y, a, b), upstream(y.shape)
    np.testing.assert_allclose(np.sum(ga * a.data), np.sum(g * y.data), rtol=1e-9, atol=1e-9)  # <Jᵀg, a> = <g, J a>
    np.testing.assert_allclose(np.sum(gb * b.data), np.sum(g * y.data), rtol=1e-9, atol=1e-9)


@bounded
@given(
    shapes.filter(lambda shape: 0 in shape),
    st.sampled_from(["exp", "tanh", "relu", "sigmoid", "square", "abs", "sum", "prod"]),
)
def test_nothing_has_an_empty_gradient(shape: tuple[int, ...], name: str) -> None:
    x = leaf(shape)
    getattr(x, name)().sum().backward()
    assert x.grad is not None
    assert x.grad.shape == shape
