"""Every op of the registry, on every sample: values, gradients, definitions, dtypes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
from tests.samples import SAMPLES, Sample, real
from tinygrad_edu import Tensor
from tinygrad_edu.ops import registry
from tinygrad_edu.ops.movement import sum_to
from tinygrad_edu.ops.op import Op

each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)


def samples_where(condition: Any) -> Any:
    return pytest.mark.parametrize("sample", [s for s in SAMPLES if condition(s)], ids=str)


def is_float(x: Any) -> bool:
    return bool(getattr(x, "dtype", None) == np.float64)


def differentiated(sample: Sample) -> list[int]:
    """The inputs that a gradient can reach."""
    return [i for i, x in enumerate(sample.inputs) if is_float(x) and sample.op.rule(i) is not None]


def leaves(sample: Sample) -> list[Any]:
    return [Tensor(x, requires_grad=True) if i in differentiated(sample) else x for i, x in enumerate(sample.inputs)]


def upstream(y: Any) -> Any:
    return real(*np.shape(y), seed=9)


def kernel(sample: Sample, dtype: Any = np.float64) -> tuple[Any, Any, tuple[Any, ...], tuple[Any, ...]]:
    """What a rule gets, on plain arrays: the gradient, the output, the inputs, and what the forward pass kept."""
    inputs = sample.cast(dtype)
    result = sample.op.forward(*inputs, **sample.options)
    y, saved = result if sample.op.saves else (result, ())
    return upstream(y).astype(dtype), y, inputs, saved


def fitted(contribution: Any, x: Any) -> Any:
    return sum_to(np.asarray(contribution), shape=np.shape(x))


# Completeness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", registry.values(), ids=repr)
def test_every_op_is_sampled_and_every_rule_checked_and_printed(op: Op) -> None:
    samples = [s for s in SAMPLES if s.op is op]
    assert samples, "the op has no sample"
    if op.differentiable:
        assert any(s.order == 2 and s.plain for s in samples), "no sample checks the derivatives"
        assert op.formula, "no formula"
    if isinstance(op.vjp, tuple):
        assert len(op.formula) == len(op.vjp)
        assert [rule is None for rule in op.vjp] == [text in ("", "0") for text in op.formula]
        reached = {i for s in samples for i in differentiated(s)}
        assert reached == {i for i, rule in enumerate(op.vjp) if rule is not None}, "a rule is never run"


def test_names_of_ops_are_unique_and_each_sample_has_its_own_inputs() -> None:
    assert all(op.name == name for name, op in registry.items())
    calls = Counter(str((s, s.options, [np.shape(x) for x in s.inputs], s.inputs)) for s in SAMPLES)
    assert max(calls.values()) <= 2  # max and min are held against two expressions


# Values and gradients ------------------------------------------------------------------------------------------------


@each_sample
def test_forward(sample: Sample) -> None:
    expected = np.asarray(sample.expected(*sample.inputs, **sample.options))
    found = np.asarray(sample.run())
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@each_sample
def test_forward_leaves_its_inputs_alone(sample: Sample) -> None:
    before = [np.array(x) for x in sample.inputs]
    sample.run()
    for x, kept in zip(sample.inputs, before, strict=True):
        np.testing.assert_array_equal(np.array(x), kept)


@samples_where(lambda s: s.order and differentiated(s))
def test_first_and_second_derivative_against_finite_differences(sample: Sample) -> None:
    def f(*moving: Any) -> Tensor:
        inputs = list(sample.inputs)
        for i, x in zip(differentiated(sample), moving, strict=True):
            inputs[i] = x
        y: Tensor = sample.run(*inputs)
        return y

    assert te.gradcheck(f, *(sample.inputs[i] for i in differentiated(sample)), order=sample.order)


@samples_where(lambda s: not s.order)
def test_what_has_no_derivative_passes_no_gradient(sample: Sample) -> None:
    inputs = [Tensor(x, requires_grad=True) if is_float(x) else x for x in sample.inputs]
    y: Tensor = sample.run(*inputs)
    total = (y * 1.0).sum() + sum((x * 2.0).sum() for x in inputs if isinstance(x, Tensor))
    floats = [x for x in inputs if isinstance(x, Tensor)]
    for g in te.grad(total, floats):
        np.testing.assert_array_equal(g.data, np.full(g.shape, 2.0))


@samples_where(differentiated)
def test_the_backward_pass_is_the_same_on_arrays_and_as_a_graph(sample: Sample) -> None:
    inputs = leaves(sample)
    y = sample.run(*inputs)
    wanted = [x for x in inputs if isinstance(x, Tensor)]
    arrays = te.grad(y, wanted, upstream(y))
    graph = te.grad(y, wanted, upstream(y), create_graph=True)
    for a, b in zip(arrays, graph, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a.data, b.data, rtol=1e-11, atol=1e-11)


TWICE = {
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "dot",
    "matmul",
    "outer",
    "vecmat",
    "mse_loss",
    "binary_cross_entropy_with_logits",
}
TWICE |= {"concatenate", "stack", "where", "divide_or_zero", "einsum", "attention", "attention_weights"}


@samples_where(lambda s: s.op.name in TWICE)
def test_one_tensor_used_for_several_inputs_receives_the_sum(sample: Sample) -> None:
    places = [
        i for i in differentiated(sample) if sample.inputs[i].shape == sample.inputs[differentiated(sample)[0]].shape
    ]
    x = Tensor(np.abs(sample.inputs[places[0]]) + 0.1, requires_grad=True)
    shared, apart = list(sample.inputs), list(sample.inputs)
    for i in places:
        shared[i], apart[i] = x, Tensor(x.data, requires_grad=True)
    y, z = sample.run(*shared), sample.run(*apart)
    (together,) = te.grad(y, [x], upstream(y))
    parts = te.grad(z, [apart[i] for i in places], upstream(z))
    np.testing.assert_allclose(together.data, sum(g.data for g in parts), rtol=1e-12, atol=1e-12)


# Kernels against definitions -----------------------------------------------------------------------------------------


@samples_where(lambda s: s.op.compose)
def test_kernel_against_definition(sample: Sample) -> None:
    assert sample.op.compose is not None
    arrays = [np.asarray(x) if is_float(x) else x for x in sample.inputs]
    np.testing.assert_allclose(sample.op.compose(*arrays, **sample.options), sample.run(), rtol=1e-12, atol=1e-12)
    inputs, wanted = leaves(sample), differentiated(sample)
    definition = sample.op.compose(*inputs, **sample.options)
    y = sample.run(*inputs)
    assert definition.shape == y.shape
    kernels = te.grad(y, [inputs[i] for i in wanted], upstream(y))
    defined = te.grad(definition, [inputs[i] for i in wanted], upstream(y))
    for a, b in zip(kernels, defined, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-12)


@samples_where(lambda s: s.op.backward)
def test_backward_kernel_against_rules(sample: Sample) -> None:
    assert sample.op.backward is not None
    g, y, inputs, saved = kernel(sample)
    wanted = differentiated(sample)
    needed = tuple(i in wanted for i in range(len(inputs)))
    found = sample.op.backward(g, y, *inputs, *saved, needed=needed, **sample.options)
    assert [x is not None for x in found] == list(needed)
    for i in wanted:
        rule: Any = sample.op.rule(i)
        defined = fitted(rule(g, y, *inputs, *saved, **sample.options), inputs[i])
        np.testing.assert_allclose(fitted(found[i], inputs[i]), defined, rtol=1e-12, atol=1e-12)
        alone = tuple(j == i for j in range(len(inputs)))
        only = sample.op.backward(g, y, *inputs, *saved, needed=alone, **sample.options)
        assert [x is not None for x in only] == list(alone), "computes what is not needed"
        np.testing.assert_array_equal(only[i], found[i])


# dtypes --------------------------------------------------------------------------------------------------------------


@samples_where(lambda s: s.op.name != "astype")
def test_float32_stays_float32(sample: Sample) -> None:
    g, y, inputs, saved = kernel(sample, np.float32)
    assert np.asarray(y).dtype.kind != "f" or np.asarray(y).dtype == np.float32
    for i in differentiated(sample):
        rule: Any = sample.op.rule(i)
        assert rule(g, y, *inputs, *saved, **sample.options).dtype == np.float32
    if sample.op.backward is not None:
        needed = tuple(i in differentiated(sample) for i in range(len(inputs)))
        found = sample.op.backward(g, y, *inputs, *saved, needed=needed, **sample.options)
        assert {x.dtype for x in found if x is not None} == {np.dtype(np.float32)}


@samples_where(differentiated)
def test_float32_stays_float32_through_two_derivatives(sample: Sample) -> None:
    if sample.op.name == "astype":
        return
    inputs = [
        Tensor(x, requires_grad=True) if getattr(x, "dtype", None) == np.float32 else x for x in sample.cast(np.float32)
    ]
    wanted = [inputs[i] for i in differentiated(sample)]
    y = sample.run(*inputs)
    first = te.grad(y, wanted, upstream(y).astype(np.float32), create_graph=True)
    nodes = list(first)
    seen: set[int] = set()
    while nodes:  # every value of the graph of the gradient
        node = nodes.pop()
        if id(node) not in seen:
            seen.add(id(node))
            assert node.dtype.kind != "f" or node.dtype == np.float32, f"{node.op} made {node.dtype}"
            nodes += [x for x in node.inputs if isinstance(x, Tensor)]
