"""Initial values: what the docstrings promise, and PyTorch's."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
from tests.requires import require_torch
from tinygrad_edu import GraphError, ShapeError, Tensor
from tinygrad_edu.nn import init

FAN_OUT, FAN_IN = 200, 300

# The call, and the variance that it promises.
RULES: list[tuple[str, dict[str, Any], float]] = [
    ("xavier_uniform_", {}, 2 / (FAN_IN + FAN_OUT)),
    ("xavier_uniform_", {"gain": 3.0}, 9 * 2 / (FAN_IN + FAN_OUT)),
    ("xavier_normal_", {}, 2 / (FAN_IN + FAN_OUT)),
    ("xavier_normal_", {"gain": 0.5}, 0.25 * 2 / (FAN_IN + FAN_OUT)),
    ("kaiming_uniform_", {}, 2 / FAN_IN),
    ("kaiming_uniform_", {"a": math.sqrt(5)}, 2 / 6 / FAN_IN),
    ("kaiming_uniform_", {"mode": "fan_out"}, 2 / FAN_OUT),
    ("kaiming_normal_", {}, 2 / FAN_IN),
    ("kaiming_normal_", {"a": 1.0, "mode": "fan_out"}, 1 / FAN_OUT),
]


def filled(name: str, options: dict[str, Any]) -> np.ndarray:
    te.manual_seed(0)
    return getattr(init, name)(Tensor(np.zeros((FAN_OUT, FAN_IN))), **options).data


@pytest.mark.parametrize(("name", "options", "variance"), RULES)
def test_variance_and_bound(name: str, options: dict[str, Any], variance: float) -> None:
    values = filled(name, options)
    assert values.mean() == pytest.approx(0, abs=0.02 * math.sqrt(variance))
    assert values.var() == pytest.approx(variance, rel=0.02)
    if "uniform" in name:
        assert np.abs(values).max() == pytest.approx(math.sqrt(3 * variance), rel=1e-3)
        assert np.abs(values).max() <= math.sqrt(3 * variance)


@pytest.mark.parametrize(("name", "options", "variance"), RULES)
def test_as_in_pytorch(name: str, options: dict[str, Any], variance: float) -> None:
    torch = require_torch()
    torch.manual_seed(0)
    theirs = getattr(torch.nn.init, name)(torch.empty(FAN_OUT, FAN_IN), **options)
    ours = filled(name, options)
    assert ours.std() == pytest.approx(float(theirs.std()), rel=0.02)
    if "uniform" in name:
        assert np.abs(ours).max() == pytest.approx(float(theirs.abs().max()), rel=1e-3)


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (init.zeros_, 0),
        (init.ones_, 1),
        (lambda tensor: init.constant_(tensor, 2.5), 2.5),
        (lambda tensor: init.uniform_(tensor, 3.0, 3.0), 3),
        (lambda tensor: init.normal_(tensor, 4.0, 0.0), 4),
    ],
)
def test_constants_fill_in_place(fill: Callable[[Tensor], Tensor], expected: float) -> None:
    for shape in [(2, 3), (), (0,)]:
        tensor = Tensor(np.full(shape, 7, np.float32))
        array = tensor.data
        assert fill(tensor) is tensor
        assert tensor.data is array
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(array, np.full(shape, expected))


def test_uniform_and_normal() -> None:
    te.manual_seed(0)
    uniform = init.uniform_(Tensor(np.zeros(100_000)), -1.0, 3.0).data
    assert (uniform.min(), uniform.max(), uniform.mean()) == pytest.approx((-1, 3, 1), abs=0.02)
    normal = init.normal_(Tensor(np.zeros(100_000)), 2.0, 0.5).data
    assert (normal.mean(), normal.std()) == pytest.approx((2, 0.5), abs=0.01)


@pytest.mark.parametrize(("shape", "expected"), [((2, 3), (3, 2)), ((8, 4, 3, 3), (36, 72)), ((5, 1, 2), (2, 10))])
def test_fans(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    torch = require_torch()
    assert init.fans(Tensor(np.zeros(shape))) == expected
    assert torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape)) == expected


def test_fans_need_two_axes() -> None:
    with pytest.raises(ShapeError, match=r"at least two axes .* got shape \(3,\)"):
        init.xavier_uniform_(Tensor([1.0, 2.0, 3.0]))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match='mode must be "fan_in" or "fan_out", got \'fan\''):
        init.kaiming_normal_(Tensor(np.zeros((2, 2))), mode="fan")  # type: ignore[arg-type]


def test_filling_after_recording_is_an_error_at_backward() -> None:
    weight = Tensor([1.0, 2.0], requires_grad=True)
    loss = (weight * weight).sum()
    init.zeros_(weight)
    with pytest.raises(GraphError, match=r"mul \(2,\): input 0, input 1 was changed in place"):
        loss.backward()
