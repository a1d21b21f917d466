"""gradcheck tells right gradients from wrong ones; and the ops that users define are as good as ours."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tinygrad_edu import GraphError, Op, Tensor
from tinygrad_edu.gradcheck import GradientError
from tinygrad_edu.ops import elementwise

X = np.array([0.5, -1.0, 2.0])

cube = Op("cube", lambda x: x**3, vjp=(lambda g, y, x: g * (3 * x**2),), formula=("G ⊙ 3 ⊙ x²",))
scaled = Op("scaled", lambda a, b: a * b, vjp=(lambda g, y, a, b: g * b, lambda g, y, a, b: g * (a + 1)))


class TestRightFunctions:
    @pytest.mark.parametrize(
        ("f", "inputs"),
        [
            (cube, (X,)),
            (lambda x, y: (x * y).sum(), (X, X[::-1])),
            (lambda x, s: x * s, (X, np.array(2.0))),
            (lambda x: F.softmax(x), (X.reshape(1, 3),)),
            (lambda x, i: x[i] * 2, (X, np.array([0, 0, 2]))),
            (lambda x, n: x * n, (X, 3)),
            (lambda x, weight: F.linear(x, weight), (X, Tensor(np.eye(3, dtype=np.float32)))),
            (F.embedding, ([0, 2, 2], np.eye(3))),
            (lambda x, y: x * 2, (X, X)),
            (lambda x: Tensor(1.0), (X,)),
            (lambda x: x.sum(), (np.empty((0, 3)),)),
            (lambda x: x * x, (1.5,)),
        ],
    )
    @pytest.mark.parametrize("order", [1, 2])
    def test_pass(self, f: Callable[..., Any], inputs: tuple[Any, ...], order: int) -> None:
        assert te.gradcheck(f, *inputs, order=order)

    def test_the_tensors_of_the_caller_stay_as_they_are(self) -> None:
        x = Tensor([1.0, 2.0], requires_grad=True)
        te.gradcheck(cube, x, order=2)
        assert x.grad is None
        assert x.tolist() == [1, 2]

    def test_everything_is_in_float64(self) -> None:
        seen: list[Any] = []
        te.gradcheck(lambda x: (seen.append(x.dtype), x * 2)[1], np.ones(2, np.float32))
        assert set(seen) == {np.dtype(np.float64)}

    def test_what_is_no_float_is_passed_on(self) -> None:
        ids, text = np.array([1, 0]), "text"

        def f(x: Tensor, *rest: Any) -> Tensor:
            assert rest[0] is ids
            assert rest[1] is text
            return x[rest[0]]

        assert te.gradcheck(f, X, ids, text)

    def test_works_where_nothing_is_recorded(self) -> None:
        with te.no_grad():
            assert te.gradcheck(cube, X, order=2)
            with pytest.raises(GradientError):
                te.gradcheck(scaled, X, X)


class TestWrongFunctions:
    def test_the_message_names_op_input_element_and_both_values(self) -> None:
        with pytest.raises(GradientError) as error:
            te.gradcheck(scaled, np.array([[0.5, 2.0]]), np.array([[3.0, 4.0]]))
        assert str(error.value) == (  # the weight of element (0, 0) is cos 0 + 1.5
            "scaled: the gradient of input 1 at element (0, 0) is 3.75, but finite differences give 1.25"
        )

    def test_a_wrong_op_inside_a_function_is_named_too(self) -> None:
        def f(x: Tensor) -> Tensor:
            return scaled(x, x)

        with pytest.raises(GradientError, match=r"f \(made by scaled\): the gradient of input 0"):
            te.gradcheck(f, X)

    @pytest.mark.parametrize(
        "rule",
        [
            lambda g, y, x: g * 2 * x**2,  # a factor
            lambda g, y, x: 3 * x**2,  # the chain is cut
            lambda g, y, x: -g * (3 * x**2),  # a sign
            lambda g, y, x: g * 0,
            lambda g, y, x: g * (3 * x**2)[::-1],  # the elements are mixed up
            None,
        ],
    )
    def test_a_wrong_rule_fails(self, rule: Any) -> None:
        wrong = Op("wrong", lambda x: x**3, vjp=(rule,))
        with pytest.raises(GradientError, match="wrong: the gradient of input 0"):
            te.gradcheck(wrong, X)

    def test_a_cut_graph_fails(self) -> None:
        with pytest.raises(GradientError, match=r"at element \(0,\) is 0, but finite differences give"):
            te.gradcheck(lambda x: x.detach() ** 2, X)
        with pytest.raises(GradientError, match="input 1"):
            te.gradcheck(lambda x, y: x * y.detach(), X, X)

    def test_nan_fails(self) -> None:
        broken = Op("broken", lambda x: x**3, vjp=(lambda g, y, x: g * np.nan,))
        with pytest.raises(GradientError, match="is nan, but finite differences give"):
            te.gradcheck(broken, X)
        with pytest.raises(GradientError, match="finite differences give nan"):
            te.gradcheck(lambda x: x * np.nan, X)

    def test_nothing_to_check_is_an_error(self) -> None:
        with pytest.raises(GraphError, match="no input is a float tensor"):
            te.gradcheck(lambda x: x, np.array([1, 2]))

    def test_the_function_must_return_a_tensor(self) -> None:
        with pytest.raises(GraphError, match="<lambda> must return a Tensor, it returned float"):
            te.gradcheck(lambda x: 3.0, X)


class TestSecondOrder:
    def test_a_wrong_gradient_of_the_gradient_fails(self) -> None:
        slope = Op("slope", lambda x: 3 * x**2, vjp=(lambda g, y, x: g * x,))  # should be g · 6x
        wrong = Op("cube", lambda x: x**3, vjp=(lambda g, y, x: g * slope(x),))
        assert te.gradcheck(wrong, X)
        with pytest.raises(GradientError, match=r"gradient of cube.*: the gradient of input 0"):
            te.gradcheck(wrong, X, order=2)

    def test_rules_that_disagree_with_the_backward_kernel_fail(self) -> None:
        two = Op("two", lambda x: x**2, (lambda g, y, x: g * x,), backward=lambda g, y, x, needed: (g * (2 * x),))
        assert te.gradcheck(two, X)
        with pytest.raises(GradientError, match="two: the gradient of input 0"):
            te.gradcheck(two, X, order=2)

    def test_a_definition_that_disagrees_with_the_kernel_fails(self) -> None:
        two = Op("two", lambda x: x**2, (lambda g, y, x: g * (2 * x),), compose=lambda x: x * x * x)
        assert te.gradcheck(two, X)
        with pytest.raises(GradientError, match="two: the gradient of input 0"):
            te.gradcheck(two, X, order=2)


class TestUserDefinedOps:
    def test_an_op_runs_on_arrays_and_is_recorded_on_tensors(self) -> None:
        np.testing.assert_array_equal(cube(X), X**3)
        x = Tensor(X, requires_grad=True)
        y = cube(x)
        assert y.op is cube
        y.sum().backward()
        np.testing.assert_allclose(x.grad.data, 3 * X**2)
        np.testing.assert_allclose(np.diag(te.hessian(lambda x: cube(x).sum(), Tensor(X)).data), 6 * X)

    def test_a_broadcast_is_undone(self) -> None:
        power = Op("scale", lambda a, b: a * b, vjp=(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a))
        assert te.gradcheck(power, np.ones((2, 3)), X, order=2)
        assert te.gradcheck(power, np.ones((2, 1)), np.array(2.0), order=2)

    def test_a_rule_of_numpy_alone_works_at_first_order(self) -> None:
        bump = Op("bump", np.sinc, vjp=(lambda g, y, x: g * np.asarray(np.cos(np.pi * x) - np.sinc(x)) / x,))
        assert te.gradcheck(bump, X)

    @pytest.mark.parametrize("shape", [(2,), (4,), (3, 3, 2)])
    def test_a_rule_of_a_wrong_shape_is_explained(self, shape: tuple[int, ...]) -> None:
        wrong = Op("wrong", lambda x: x * 2, vjp=(lambda g, y, x: np.ones(shape),))
        x = Tensor(X, requires_grad=True)
        with pytest.raises(GraphError, match=r"wrong \(3,\): the rule for input 0 returned a gradient of shape"):
            wrong(x).sum().backward()
        assert x.grad is None

    def test_an_op_that_saves_needs_a_definition_for_higher_derivatives(self) -> None:
        def forward(x: Any) -> Any:
            y = np.exp(x)
            return y, (y,)

        options: dict[str, Any] = {"vjp": (lambda g, y, x, kept: g * kept,), "saves": ("kept",)}
        kept = Op("kept", forward, **options)
        assert te.gradcheck(kept, X)
        x = Tensor(X, requires_grad=True)
        with pytest.raises(GraphError, match=r"kept \(3,\): no higher derivatives.* has no compose="):
            te.grad(kept(x).sum(), [x], create_graph=True)
        assert te.gradcheck(Op("kept", forward, **options, compose=elementwise.exp), X, order=2)

    def test_options_reach_forward_and_rule(self) -> None:
        power = Op("power", lambda x, *, n: x**n, vjp=(lambda g, y, x, *, n: g * (n * x ** (n - 1)),))
        assert te.gradcheck(lambda x: te.apply(power, x, n=3), X, order=2)
        assert te.gradcheck(lambda x: power(x, n=3), X, order=2)

    def test_one_rule_for_any_number_of_inputs(self) -> None:
        total = Op("total", lambda *xs: sum(xs), vjp=lambda g, y, *xs, index: g * 1)
        assert te.gradcheck(lambda *xs: total(*xs), X, X, X, order=2)


@pytest.mark.parametrize("order", [0, 3])
def test_an_order_that_is_not_checked_is_refused(order: int) -> None:
    with pytest.raises(ValueError, match="order must be 1 or 2"):
        te.gradcheck(lambda x: x * x, Tensor([1.0]), order=order)
