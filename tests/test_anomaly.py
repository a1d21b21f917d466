"""detect_anomaly stops where NaN or infinity is born, and nowhere else."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tests.samples import SAMPLES, Sample
from tinygrad_edu import Tensor, nn, optim

X = np.array([[1.0, 0.0, 2.0], [3.0, 4.0, -1.0]], np.float32)
NO_MASK = np.full((2, 3), -np.inf, np.float32)


def leaf(data: Any = X) -> Tensor:
    return Tensor(data, requires_grad=True)


def born(run: Callable[[], Any]) -> str:
    """What the error says."""
    with pytest.raises(te.AnomalyError) as caught, te.detect_anomaly():
        run()
    assert caught.value.__context__ is sys.exc_info()[1]  # of what was being handled already, if anything
    return str(caught.value)


@pytest.mark.parametrize(
    ("run", "value", "advice"),
    [
        (lambda x: x.log(), "NaN (1 of 6 elements, the first at (1, 2))", "log_softmax"),
        (lambda x: x.abs().log(), "-inf (1 of 6 elements, the first at (0, 1))", "above 0"),
        (lambda x: x.log1p(), "-inf", "above -1"),
        (lambda x: x.sqrt(), "NaN", "1e-12"),
        (lambda x: 1 / x, "inf", "divisor"),
        (lambda x: x**-1.0, "inf", "negative power"),
        (lambda x: (x * 100).exp(), "inf", "overflows"),
        (lambda x: x * 3e38, "inf (3 of 6", "learning rate"),
        (lambda x: (x * 1e30) @ (x.T * 1e30), "inf", "learning rate"),
        (lambda x: F.cross_entropy(x, np.array([-100, -100])), "NaN", "ignore_index"),
    ],
)
def test_forward(run: Callable[[Tensor], Any], value: str, advice: str) -> None:
    text = born(lambda: run(leaf()))
    assert f"made {value}" in text
    assert "from finite inputs" in text
    assert re.search(r"input [01]: float32 \(2, 3\) from -?\d", text)
    assert advice in text
    assert "in your program: " in text
    assert "test_anomaly.py" in text


def test_backward_names_the_line_of_the_forward_pass() -> None:
    def run() -> None:
        x = leaf()
        root = x.abs().sqrt()  # the slope at 0 is infinite
        root.sum().backward()

    text = born(run)
    assert text.startswith("backward of sqrt (2, 3): the gradient of input 0 became inf (1 of 6")
    assert "there 0" in text
    assert "root = x.abs().sqrt()" in text


def test_backward_of_a_graph_from_before() -> None:
    loss = leaf().abs().sqrt().sum()
    assert "open detect_anomaly around the forward pass" in born(loss.backward)


def test_a_slope_that_nobody_asked_for_is_explained() -> None:
    x = leaf()
    text = born(lambda: te.where(X > 0, x.abs().sqrt(), 0.0).sum().backward())
    assert "became NaN" in text
    assert "te.where(mask, x, 1.0)" in text


def test_the_module_is_named() -> None:
    class Logarithm(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.log()

    model = nn.Sequential(nn.ReLU(), nn.Sequential(Logarithm()))
    assert born(lambda: model(leaf())).startswith("log (2, 3) in 1.0 made -inf")


def test_nan_in_the_data_is_found_where_it_enters() -> None:
    bad = np.where(X == 4, np.nan, X).astype(np.float32)
    text = born(lambda: leaf() @ bad.T)
    assert text.startswith("matmul (2, 2) made NaN")
    assert "because input 1 is NaN already" in text
    assert "input 1: float32 (3, 2) from -1 to 3, 1 of 6 NaN" in text
    assert "it is in the data" in text
    assert "a parameter is NaN: an optimizer step" in born(lambda: leaf(bad) * 2)
    earlier = leaf(bad) * 2
    assert "mul (2, 3) was made before" in born(lambda: earlier.exp())


def test_a_learning_rate_that_is_too_high() -> None:
    te.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = optim.SGD(model.parameters(), lr=100.0)

    def train() -> None:
        for _ in range(50):
            loss = F.mse_loss(model(X), X[:, :1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    text = born(train)
    assert "made inf" in text or "became inf" in text
    assert "lower the learning rate" in text


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x.masked_fill(X == 0, -np.inf),
        lambda x: te.where(X > 0, x, -np.inf),
        lambda x: F.softmax(x.masked_fill(X == 0, -np.inf)) ** 2,
        lambda x: F.softmax(x + NO_MASK),
        lambda x: F.logsumexp(x + NO_MASK, axis=1).exp(),
        lambda x: F.log_softmax(x.masked_fill(X == 0, -np.inf)).max(axis=1),
        lambda x: F.scaled_dot_product_attention(x, x, x, NO_MASK[:, :2]),
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        lambda x: te.concatenate([x, NO_MASK]).max(axis=0),
        lambda x: (x + np.inf).clip(None, 5.0),
    ],
)
def test_infinity_on_purpose_is_no_anomaly(run: Callable[[Tensor], Tensor]) -> None:
    x = leaf()
    with te.detect_anomaly():
        y = run(x)
        if y.requires_grad and np.isfinite(y.data).all():
            y.sum().backward()


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.order], ids=str)
def test_no_op_is_suspected_without_reason(sample: Sample) -> None:
    inputs = [leaf(x) if getattr(x, "dtype", None) == np.float64 else x for x in sample.inputs]
    with te.detect_anomaly():
        y = te.apply(sample.op, *inputs, **sample.options)
        y.backward(np.ones(y.shape))


def test_off_by_default_and_again_afterwards() -> None:
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        Tensor([0.0]).log()
    with te.detect_anomaly():
        assert Tensor([1.0]).log().item() == 0
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        Tensor([0.0]).log()


def test_the_error_is_one_that_callers_expect() -> None:
    assert issubclass(te.AnomalyError, te.GraphError)
    assert issubclass(te.AnomalyError, FloatingPointError)


def test_gradients_are_left_alone_by_a_backward_pass_that_is_stopped() -> None:
    x, z = leaf(), leaf()
    born(lambda: (z * x.abs().sqrt()).sum().backward())
    assert x.grad is None
    assert z.grad is None
