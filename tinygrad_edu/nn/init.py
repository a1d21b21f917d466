"""Initial values for parameters, filled in place. Weights are (fan_out, fan_in), as in Linear.

A layer keeps the variance of what flows through it when its weights have variance ~ 1 / fan: Xavier averages the fans
of the forward and the backward pass (Glorot & Bengio 2010), Kaiming makes up for the half that ReLU cuts away (He et
al. 2015, arXiv:1502.01852).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from tinygrad_edu import random
from tinygrad_edu.autograd import changes
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.tensor import Tensor


def _fill(tensor: Tensor, values: Any) -> Tensor:
    changes.mark(tensor.data)
    tensor.data[...] = values
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return _fill(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return _fill(tensor, 1)


def constant_(tensor: Tensor, value: float) -> Tensor:
    """Fill with one value."""
    return _fill(tensor, value)


def uniform_(tensor: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Draw from [low, high)."""
    return _fill(tensor, random.generator().uniform(low, high, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Draw from the normal distribution."""
    return _fill(tensor, random.generator().normal(mean, std, tensor.shape))


def fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs and outputs one unit is connected to: (fan_in, fan_out)."""
    if tensor.ndim < 2:
        raise ShapeError(f"fan_in and fan_out need at least two axes (fan_out, fan_in), got shape {tensor.shape}")
    rest = int(np.prod(tensor.shape[2:]))
    return tensor.shape[1] * rest, tensor.shape[0] * rest


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Uniform with variance gain² · 2 / (fan_in + fan_out)."""
    bound = gain * math.sqrt(6 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with variance gain² · 2 / (fan_in + fan_out)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))))


def _kaiming_std(tensor: Tensor, a: float, mode: Literal["fan_in", "fan_out"]) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'mode must be "fan_in" or "fan_out", got {mode!r}')
    fan = fans(tensor)[mode == "fan_out"]
    return math.sqrt(2 / ((1 + a * a) * fan))


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: Literal["fan_in", "fan_out"] = "fan_in") -> Tensor:
    """Uniform with variance 2 / ((1 + a²) fan), for a leaky ReLU of slope a."""
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: Literal["fan_in", "fan_out"] = "fan_in") -> Tensor:
    """Normal with variance 2 / ((1 + a²) fan), for a leaky ReLU of slope a."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode))
