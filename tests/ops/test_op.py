"""Ops of one's own: what is refused, and that the refusal names the op and what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import viz
from tinygrad_edu import GraphError, Op, Tensor


def leaf() -> Tensor:
    return Tensor([1.0, 2.0], requires_grad=True)


def use(*inputs: Tensor, forward: Any = np.exp, **rules: Any) -> Tensor:
    return te.apply(Op("mine", forward, **rules), *inputs)


RULE = (lambda g, y, x: g * y,)


@pytest.mark.parametrize("name", ["", "a\nb", "a\0", "\x1b[31m", "half \ud83d"])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be printable"):
        Op(name, np.exp)


def test_braces_in_a_name_are_only_braces() -> None:
    y = te.apply(Op("{mine}", np.exp, vjp=RULE), leaf())
    y.sum().backward()
    assert "{mine}(" in viz.tree(y)


@pytest.mark.parametrize("kernel", ["backward", "compose"])
def test_a_kernel_without_rules_is_refused(kernel: str) -> None:
    with pytest.raises(TypeError, match=r"mine.*vjp="):
        Op("mine", np.exp, **{kernel: lambda x: x})


def test_an_input_without_a_rule_is_refused_unless_it_is_said_to_have_none() -> None:
    x, w = leaf(), leaf()
    with pytest.raises(TypeError, match=r"mine: vjp has 1 rules, so none for input 1"):
        use(x, w, forward=np.multiply, vjp=(lambda g, y, a, b: g * b,)).sum().backward()
    use(x, w, forward=np.multiply, vjp=(lambda g, y, a, b: g * b, None)).sum().backward()
    assert w.grad is None


@pytest.mark.parametrize("result", [1.0, [1.0], None, "a", np.array([1j]), np.array([None])], ids=repr)
def test_forward_returns_an_array_of_real_numbers(result: Any) -> None:
    with pytest.raises(TypeError, match=r"mine: forward must return an array"):
        use(leaf(), forward=lambda x: result, vjp=RULE)


@pytest.mark.parametrize("result", [np.ones((2, 2)), (np.ones(2), ()), (np.ones(2), (1, 2))], ids=["one", "0", "2"])
def test_forward_returns_as_many_saved_arrays_as_are_named(result: Any) -> None:
    with pytest.raises(TypeError, match=r"mine: forward.*saved.*'s'"):
        use(leaf(), forward=lambda x: result, vjp=(lambda g, y, x, s: g * s,), saves=("s",))


@pytest.mark.parametrize("result", [None, [1.0], "a"], ids=repr)
def test_a_rule_that_returns_no_array_is_named(result: Any) -> None:
    with pytest.raises(GraphError, match=r"mine \(2,\): the rule for input 0 returned"):
        use(leaf(), vjp=(lambda g, y, x: result,)).sum().backward()


@pytest.mark.parametrize("result", [(np.ones(2),), np.ones(2)], ids=["short", "no tuple"])
def test_a_backward_kernel_returns_one_gradient_for_each_input(result: Any) -> None:
    rules = (lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
    y = use(leaf(), leaf(), forward=np.multiply, vjp=rules, backward=lambda *_, needed: result)
    with pytest.raises(GraphError, match=r"mine \(2,\): backward= must return a tuple"):
        y.sum().backward()


def test_an_option_that_wants_a_gradient_is_refused() -> None:
    op = Op("scale", lambda x, by: x * by, vjp=(lambda g, y, x, by: g * by,))
    assert te.apply(op, leaf(), by=Tensor(3.0)).tolist() == [3, 6]
    with pytest.raises(GraphError, match=r"scale: by is a constant"):
        te.apply(op, leaf(), by=Tensor(3.0, requires_grad=True))
    for misused in (lambda x: x.clip(x, 5.0), lambda x: x.masked_fill(x > 1, x.sum()), lambda x: x.pad(1, x.sum())):
        with pytest.raises(GraphError, match=r"is a constant"):
            misused(leaf())


@pytest.mark.parametrize("rule", [lambda g, y, x: g * np.sort(x), lambda g, y, x: g * np.asarray(x)[::1]])
def test_a_rule_that_calls_numpy_itself_still_notices_changes_in_place(rule: Any) -> None:
    x = leaf()
    y = use(x, forward=lambda x: x * x / 2, vjp=(rule,)).sum()
    x.data -= 5.0
    with pytest.raises(GraphError, match=r"mine \(2,\): input 0 was changed in place"):
        y.backward()
