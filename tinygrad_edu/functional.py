"""F: what networks are made of, as functions. Names and meanings are PyTorch's, axes are NumPy's.

>>> import tinygrad_edu.functional as F
>>> F.softmax(Tensor([0.0, 0.0]))
Tensor([0.5, 0.5])
"""

from __future__ import annotations

from typing import Any, Literal, NoReturn

import numpy as np

from tinygrad_edu import random
from tinygrad_edu.autograd import effect
from tinygrad_edu.errors import InputError, ShapeError
from tinygrad_edu.ops import elementwise, fused, linalg
from tinygrad_edu.ops.movement import Axis
from tinygrad_edu.tensor import Operand, Tensor, apply, here, unknown_options

Reduction = Literal["mean", "sum", "none"]


def _tensor(x: Any, name: str) -> Tensor:
    """A tensor stays what it is, anything else becomes a constant."""
    if isinstance(x, Tensor):
        return x
    try:
        real = isinstance(x, np.ndarray) and x.dtype.kind in "biuf"
        return Tensor.wrap(_array(x)) if real else Tensor(x)
    except (InputError, ShapeError) as error:
        raise type(error)(f"{name}{here()}: {str(error).removeprefix('Tensor: ')}") from None


def _array(x: Any) -> np.ndarray:
    """The array of a tensor, or of anything that can become one."""
    return np.asarray(x._data if isinstance(x, Tensor) else x)


def _number(name: str, option: str, value: Any) -> float:
    """An option that is a number, as one of Python's: it changes no dtype."""
    if isinstance(value, (int, float, np.integer, np.floating)):
        return float(value)
    raise InputError(f"{name}{here()}: {option} must be a number, got {type(value).__name__} {value!r:.40}")


# Activations ---------------------------------------------------------------------------------------------------------


def relu(x: Operand) -> Tensor:
    """max(x, 0); its gradient at 0 is 0."""
    return apply(elementwise.relu, x)


def leaky_relu(x: Operand, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope · x."""
    return apply(elementwise.leaky_relu, x, negative_slope=_number("leaky_relu", "negative_slope", negative_slope))


def elu(x: Operand, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (exp(x) - 1) (Clevert et al. 2015, arXiv:1511.07289)."""
    return apply(elementwise.elu, x, alpha=_number("elu", "alpha", alpha))


def sigmoid(x: Operand) -> Tensor:
    """1 / (1 + exp(-x)), without overflow."""
    return apply(elementwise.sigmoid, x)


def tanh(x: Operand) -> Tensor:
    """The hyperbolic tangent."""
    return apply(elementwise.tanh, x)


def softplus(x: Operand) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    return apply(elementwise.softplus, x)


def silu(x: Operand) -> Tensor:
    """x · sigmoid(x), also called swish (arXiv:1702.03118)."""
    return apply(elementwise.silu, x)


def gelu(x: Operand, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """x Φ(x), Φ the normal distribution function; "tanh" is the approximation that GPT-2 uses (arXiv:1606.08415)."""
    ops = {"none": fused.gelu, "tanh": fused.gelu_tanh}
    if approximate not in ops:
        raise ValueError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')
    return apply(ops[approximate], x)


# Softmax and its relatives -------------------------------------------------------------------------------------------


def softmax(x: Operand, axis: Axis = -1, **other: NoReturn) -> Tensor:
    """exp(x) / Σ exp(x) along the axis: positive, adding up to 1. A slice of -inf throughout gives zeros."""
    if other:
        raise unknown_options("softmax", other)
    return apply(fused.softmax, x, axis=axis)


def log_softmax(x: Operand, axis: Axis = -1, **other: NoReturn) -> Tensor:
    """log(softmax(x)), stable."""
    if other:
        raise unknown_options("log_softmax", other)
    return apply(fused.log_softmax, x, axis=axis)


def logsumexp(x: Operand, axis: Axis = None, keepdims: bool = False, **other: NoReturn) -> Tensor:
    """log Σ exp(x) along the axis, stable."""
    if other:
        raise unknown_options("logsumexp", other)
    return apply(fused.logsumexp, x, axis=axis, keepdims=keepdims)


# Layers --------------------------------------------------------------------------------------------------------------


def linear(x: Operand, weight: Operand, bias: Operand | None = None) -> Tensor:
    """y = x Wᵀ + b: shapes (..., in), (out, in), (out,) -> (..., out)."""
    return apply(fused.linear, x, weight, bias)


def embedding(ids: Any, weight: Tensor) -> Tensor:
    """Row number `id` of weight (V, D) for each id: (...) -> (..., D). ids are integers from 0 to V - 1."""
    try:
        rows = _array(ids)
    except ValueError:
        raise ShapeError(f"embedding{here()}: the rows of ids have different lengths: pad them to one length") from None
    if rows.dtype.kind not in "iu":
        got = f"{rows.dtype} {rows.shape}" if rows.dtype.kind in "fbc" else f"{type(ids).__name__} {ids!r:.40}"
        raise InputError(
            f"embedding{here()}: ids must be integers, got {got} for a weight of shape {np.shape(weight)}: "
            "write np.asarray(ids).astype(int)"
        )
    return apply(fused.embedding, ids if isinstance(ids, Tensor) else rows, weight)


def layer_norm(x: Operand, weight: Operand | None = None, bias: Operand | None = None, eps: float = 1e-5) -> Tensor:
    """(x - mean) / √(var + eps) over the last axis, then ⊙ weight + bias (arXiv:1607.06450)."""
    return apply(fused.layer_norm, x, weight, bias, eps=_number("layer_norm", "eps", eps))


def dropout(x: Operand, p: float = 0.5, training: bool = True) -> Tensor:
    """Zero each element with probability p and scale the rest by 1 / (1 - p); nothing when not training."""
    if not 0 <= _number("dropout", "p", p) <= 1:
        raise ValueError(f"dropout: p is a probability, got {p}")
    x = _tensor(x, "dropout")
    if not training or p == 0:
        return x
    return apply(fused.dropout, x, draw_kept(x.shape, p), scale=float(1 / (1 - p)) if p < 1 else 0.0)


@effect
def draw_kept(shape: tuple[int, ...], p: float) -> np.ndarray:
    """A mask that is False with probability p: each call draws another one from `te.manual_seed`'s generator."""
    return np.asarray(random.generator().random(shape, dtype=np.float32) >= p)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Operand | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
) -> Tensor:
    """softmax(q kᵀ / √D + mask) v: shapes (..., T, D), (..., S, D), (..., S, E) -> (..., T, E).

    attn_mask: broadcasts to (..., T, S); boolean, True where a query may attend to a key, or floats that are added.
    is_causal: query t attends to keys 0 to t only.
    A query that may attend to nothing gets zeros, and gives zero gradients.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1.
    """
    mask = attn_mask if attn_mask is None else _tensor(attn_mask, "scaled_dot_product_attention")
    if mask is not None and mask.dtype.kind not in "bf":
        raise InputError(
            f"scaled_dot_product_attention{here()}: attn_mask must be boolean (True: may attend) or floats (added "
            f"to the scores), got {mask.dtype}: pass mask.astype(bool) or mask.astype(float)"
        )
    if dropout_p:
        weights = apply(fused.attention_weights, query, key, mask, is_causal=is_causal)
        return dropout(weights, dropout_p) @ value
    return apply(fused.attention, query, key, value, mask, is_causal=is_causal)


# Losses --------------------------------------------------------------------------------------------------------------


def _reduced(loss: Tensor, reduction: str, name: str) -> Tensor:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'{name}: reduction must be "mean", "sum" or "none", got {reduction!r}')
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def _same_shape(prediction: Operand, target: Operand, name: str) -> None:
    if np.shape(prediction) != np.shape(target):
        raise ShapeError(
            f"{name}{here()}: the prediction {np.shape(prediction)} and the target {np.shape(target)} must have the "
            "same shape; broadcasting them would compare every prediction with every target. Reshape one of them first."
        )


def cross_entropy(
    logits: Tensor,
    target: Any,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    axis: int | None = None,
) -> Tensor:
    """-log softmax(logits)[target], the loss of a classifier.

    logits: (N, C), (C,) or (N, C, d1, ...).
    target: integers (N,), () or (N, d1, ...), or probabilities shaped as the logits.
    axis: where the classes are; as in PyTorch axis 1, or 0 where there is only one. For (B, T, V) pass axis=-1.
    ignore_index: targets of this value count for nothing. label_smoothing: this share of the target is spread evenly.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'cross_entropy: reduction must be "mean", "sum" or "none", got {reduction!r}')
    if not 0 <= _number("cross_entropy", "label_smoothing", label_smoothing) <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is a share, from 0 to 1, got {label_smoothing}")
    logits, target_array = _tensor(logits, "cross_entropy"), _array(target)
    if target_array.ndim > logits.ndim and fused.cross_entropy.hint:
        raise ShapeError(f"cross_entropy{here()}: {fused.cross_entropy.hint(logits, target_array)}")
    axis = min(1, logits.ndim - 1) if axis is None else axis
    if not -logits.ndim <= axis < logits.ndim:
        raise ShapeError(f"cross_entropy{here()}: the logits {logits.shape} have no axis {axis} with the classes")
    axis %= logits.ndim
    classes = logits.shape[axis]
    if target_array.dtype.kind == "f":
        if target_array.ndim < logits.ndim:
            raise InputError(
                f"cross_entropy{here()}: classes are integers, got {target_array.dtype} {target_array.shape} for "
                f"logits {logits.shape}: write target.astype(int)"
            )
        _same_shape(logits, target_array, "cross_entropy")
        share = Tensor.wrap(target if isinstance(target, Tensor) else target_array).astype(logits.dtype)
        share = (1 - label_smoothing) * share + label_smoothing / classes
        return _reduced(-(log_softmax(logits, axis) * share).sum(axis), reduction, "cross_entropy")
    if axis != logits.ndim - 1:
        logits = logits.transpose(*(i for i in range(logits.ndim) if i != axis), axis)
    if target_array.dtype.kind not in "iu":
        raise InputError(
            f"cross_entropy{here()}: the target must be integers (classes) or floats (probabilities), got "
            f"{target_array.dtype} {target_array.shape}: write target.astype(int)"
        )
    if target_array.shape != logits.shape[:-1]:
        raise ShapeError(
            f"cross_entropy{here()}: with {classes} classes on axis {axis}, the target must have shape "
            f"{logits.shape[:-1]}, got {target_array.shape}. If the classes are on the last axis, pass axis=-1."
        )
    return apply(
        fused.cross_entropy,
        logits,
        target if isinstance(target, Tensor) else target_array,
        ignore_index=ignore_index,
        label_smoothing=float(label_smoothing),
        reduction=reduction,
    )


def mse_loss(prediction: Operand, target: Operand, reduction: Reduction = "mean") -> Tensor:
    """The mean of (prediction - target)²."""
    _same_shape(prediction, target, "mse_loss")
    if reduction == "mean":
        return apply(fused.mse_loss, prediction, target)
    return _reduced(apply(elementwise.square, apply(elementwise.sub, prediction, target)), reduction, "mse_loss")


def binary_cross_entropy_with_logits(logits: Operand, target: Operand, reduction: Reduction = "mean") -> Tensor:
    """-t log σ(x) - (1 - t) log(1 - σ(x)), stable; targets are between 0 and 1."""
    _same_shape(logits, target, "binary_cross_entropy_with_logits")
    loss = apply(fused.binary_cross_entropy_with_logits, logits, target)
    return _reduced(loss, reduction, "binary_cross_entropy_with_logits")


# Vectors -------------------------------------------------------------------------------------------------------------


def norm(x: Tensor, ord: float = 2, axis: Axis = None, keepdims: bool = False, **other: NoReturn) -> Tensor:
    """The length of vectors: Euclidean for ord=2 (its gradient at 0 is 0), Σ|x| for 1, max |x| for infinity."""
    if other:
        raise unknown_options("norm", other)
    x = _tensor(x, "norm")
    if ord == 2:
        return apply(linalg.norm, x, axis=axis, keepdims=keepdims)
    if ord == 1:
        return x.abs().sum(axis, keepdims)
    if ord == np.inf:
        return x.abs().max(axis, keepdims)
    raise ValueError(f"norm: ord must be 1, 2 or infinity, got {ord}")
