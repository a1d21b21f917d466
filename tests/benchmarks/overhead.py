"""What one op costs beyond its arithmetic: called alone, recorded, and on the way back, in microseconds."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from tests.benchmarks.measure import installed
from tests.benchmarks.workload import OURS, REFERENCE

LENGTH = 300  # ops in a row
OPS: dict[str, Callable[[Any, Any], Any]] = {
    "x + a": lambda x, a: x + a,
    "x * a": lambda x, a: x * a,
    "x.relu()": lambda x, a: x.relu(),
    "x @ a": lambda x, a: x @ a,
}
SHAPES = {"0-d": (), "8 × 8": (8, 8)}


def per_op(repeats: int = 15) -> list[dict[str, Any]]:
    """For each op and shape: microseconds per op without recording, with it, and in the backward pass."""
    rows = []
    frameworks = {OURS: _ours, REFERENCE: _pytorch} if installed(REFERENCE) else {OURS: _ours}
    for shape_name, shape in SHAPES.items():
        for op_name, op in OPS.items():
            if op_name == "x @ a" and not shape:
                continue
            gc.collect()
            value = (np.eye(8) if shape else np.ones(())).astype(np.float32)
            rounds = [{name: measure(op, value) for name, measure in frameworks.items()} for _ in range(repeats)]
            for name in frameworks:
                parts = zip(*(each[name] for each in rounds), strict=True)
                called, recorded, backward = (1e6 * median(part) / LENGTH for part in parts)
                rows.append(
                    {"op": op_name, "shape": shape_name, "framework": name}
                    | {"called": called, "recorded": recorded, "backward": backward}
                )
    return rows


def _chain(op: Callable[[Any, Any], Any], x: Any, a: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    for _ in range(LENGTH):
        x = op(x, a)
    return time.perf_counter() - start, x


def _timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _ours(op: Callable[[Any, Any], Any], value: np.ndarray) -> tuple[float, float, float]:
    import tinygrad_edu as te

    x, a = te.Tensor(value, requires_grad=True), te.Tensor(value, requires_grad=True)
    with te.no_grad():
        called, _ = _chain(op, x, a)
    recorded, y = _chain(op, x, a)
    return called, recorded, _timed(lambda: y.backward(np.ones_like(value)))


def _pytorch(op: Callable[[Any, Any], Any], value: np.ndarray) -> tuple[float, float, float]:
    import torch

    x, a = torch.tensor(value, requires_grad=True), torch.tensor(value, requires_grad=True)
    with torch.no_grad():
        called, _ = _chain(op, x, a)
    recorded, y = _chain(op, x, a)
    return called, recorded, _timed(lambda: y.backward(torch.ones(value.shape)))
