"""`scalar`: 1 250 operations on single numbers, forward and backward. It measures what one recorded op costs."""

from __future__ import annotations

import sys

import numpy as np

from tests.benchmarks.workload import CAPTURED, OURS, REFERENCE, Step, Workload

ROUNDS = 250


def problem() -> tuple[float, float]:
    """The two numbers that the gradient is asked for: x and a."""
    return 0.3, 1.5


def chain(x, a):
    """Five operations, 250 times: the very same lines run in every framework that has operators and a relu method."""
    for _ in range(ROUNDS):
        x = x * 0.999 + a
        x = x.relu()
        x = x * a * 0.5
    return x


def ours(start: tuple[float, float]) -> Step:
    import tinygrad_edu as te

    def step() -> float:
        x, a = (te.Tensor(np.float32(value), requires_grad=True) for value in start)
        chain(x, a).backward()
        return a.grad.item()

    return step


def captured(start: tuple[float, float]) -> Step:
    import tinygrad_edu as te

    x, a = (te.Tensor(np.float32(value), requires_grad=True) for value in start)

    @te.capture
    def run():
        x.grad = a.grad = None
        y = chain(x, a)
        y.backward()
        return y

    def step() -> float:
        run()
        return a.grad.item()

    return step


def by_hand(start: tuple[float, float]) -> Step:
    def step() -> float:
        x, a = start
        inputs = []  # what the backward pass needs: the relu's output, which is positive where it let x through
        for _ in range(ROUNDS):
            x = max(x * 0.999 + a, 0.0)
            inputs.append(x)
            x = x * a * 0.5
        slope, slope_a = 1.0, 0.0
        for x in reversed(inputs):
            slope *= 0.5
            slope_a += slope * x
            slope = slope * a if x > 0 else 0.0
            slope_a += slope
            slope *= 0.999
        return slope_a

    return step


def pytorch(start: tuple[float, float], transform=lambda function: function) -> Step:
    import torch

    run = transform(chain)

    def step() -> float:
        x, a = (torch.tensor(value, requires_grad=True) for value in start)
        run(x, a).backward()
        return a.grad.item()

    return step


def torch_compile(start: tuple[float, float]) -> Step:
    import torch

    return pytorch(start, torch.compile)


def mygrad(start: tuple[float, float]) -> Step:
    import mygrad as mg

    def step() -> float:
        x, a = (mg.tensor(np.float32(value)) for value in start)
        for _ in range(ROUNDS):
            x = x * 0.999 + a
            x = mg.maximum(x, 0.0)
            x = x * a * 0.5
        x.backward()
        return float(a.grad)

    return step


def hips_autograd(start: tuple[float, float]) -> Step:
    import autograd
    import autograd.numpy as anp

    def run(x, a):
        for _ in range(ROUNDS):
            x = x * 0.999 + a
            x = anp.maximum(x, 0.0)
            x = x * a * 0.5
        return x

    slopes = autograd.grad(run, (0, 1))
    return lambda: float(slopes(*start)[1])


def micrograd(start: tuple[float, float]) -> Step:
    from micrograd.engine import Value

    sys.setrecursionlimit(max(10 * ROUNDS * 5, sys.getrecursionlimit()))  # its backward() recurses through the graph

    def step() -> float:
        x, a = (Value(value) for value in start)
        chain(x, a).backward()
        return a.grad

    return step


SCALAR = Workload(
    "scalar",
    "1 250 scalar ops, forward + backward",
    problem,
    {
        OURS: ours,
        CAPTURED: captured,
        "by hand": by_hand,
        REFERENCE: pytorch,
        "torch.compile": torch_compile,
        "MyGrad": mygrad,
        "HIPS autograd": hips_autograd,
        "micrograd": micrograd,
    },
)
