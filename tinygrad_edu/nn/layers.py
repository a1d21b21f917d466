"""The layers that models are made of, with PyTorch's names, shapes and initial values."""

from __future__ import annotations

import math
from typing import Any, Literal, NoReturn

import numpy as np

import tinygrad_edu.functional as F
from tinygrad_edu.nn import init
from tinygrad_edu.nn.module import Module, Parameter
from tinygrad_edu.ops.movement import Axis
from tinygrad_edu.tensor import Tensor, unknown_options


def check_sizes(layer: Module, **sizes: Any) -> None:
    """Refuse sizes that are no whole numbers."""
    for name, size in sizes.items():
        if not isinstance(size, (int, np.integer)) or size < 0:
            raise ValueError(f"{type(layer).__name__}: {name} must be a whole number, not negative, got {size!r}")


class Linear(Module):
    """y = x Wᵀ + b: (..., in_features) -> (..., out_features), W of shape (out_features, in_features).

    Weights and bias start uniform in ±1/√in_features.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = np.float32) -> None:
        check_sizes(self, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        self.weight = Parameter(np.empty((out_features, in_features), dtype))
        self.bias = Parameter(np.empty(out_features, dtype)) if bias else None
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.in_features} → {self.out_features}" + ("" if self.bias is not None else ", no bias")


class Embedding(Module):
    """A table with one row of embedding_dim numbers for each id, integers from 0. Starts as N(0, 1)."""

    def __init__(self, num_embeddings: int, embedding_dim: int, dtype: Any = np.float32) -> None:
        check_sizes(self, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = Parameter(np.empty((num_embeddings, embedding_dim), dtype))
        init.normal_(self.weight)

    def forward(self, ids: Any) -> Tensor:
        """(...) -> (..., embedding_dim)."""
        return F.embedding(ids, self.weight)

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.num_embeddings} × {self.embedding_dim}"


class LayerNorm(Module):
    """Each row of the last axis to mean 0 and variance 1, then ⊙ weight + bias, which start as 1 and 0."""

    def __init__(self, normalized_shape: int, eps: float = 1e-5, bias: bool = True, dtype: Any = np.float32) -> None:
        if not isinstance(normalized_shape, (int, np.integer)):
            raise TypeError(
                f"LayerNorm: works on the last axis, so normalized_shape is its length, got {normalized_shape!r}"
            )
        self.normalized_shape, self.eps = normalized_shape, eps
        self.weight = Parameter(np.ones(normalized_shape, dtype))
        self.bias = Parameter(np.zeros(normalized_shape, dtype)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return F.layer_norm(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.normalized_shape}"


class Dropout(Module):
    """While training, zero each element with probability p and scale the rest by 1 / (1 - p)."""

    def __init__(self, p: float = 0.5) -> None:
        if not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is a probability, got {p!r:.40}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, unchanged."""
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:  # noqa: D102
        return f"p={self.p:g}"


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.relu(x)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope · x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.negative_slope:g}"


class ELU(Module):
    """x where x > 0, else alpha (exp(x) - 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:  # noqa: D102
        return f"{self.alpha:g}"


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.tanh(x)


class Softplus(Module):
    """log(1 + exp(x))."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.softplus(x)


class SiLU(Module):
    """x · sigmoid(x)."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.silu(x)


class GELU(Module):
    """x Φ(x), exact or with the tanh approximation."""

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:  # noqa: D102
        return "" if self.approximate == "none" else self.approximate


class Softmax(Module):
    """exp(x) / Σ exp(x) along an axis."""

    def __init__(self, axis: Axis = -1, **other: NoReturn) -> None:
        if other:
            raise unknown_options("Softmax", other)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.softmax(x, self.axis)

    def extra_repr(self) -> str:  # noqa: D102
        return f"axis={self.axis}"
