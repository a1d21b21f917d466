"""Ops that a network is made of, each with a fast kernel and its definition in primitive ops (`compose`).

The definition serves three masters: the tests hold the kernel against it, higher derivatives go through it, and a
picture can open the op and show what is inside.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_edu.ops.elementwise import (
    _erf,
    constant,
    divide_or_zero,
    equal,
    erf,
    exp,
    log_or_zero,
    sigmoid,
    softplus,
    sqrt,
    square,
    tanh,
    where,
)
from tinygrad_edu.ops.elementwise import abs as absolute
from tinygrad_edu.ops.linalg import matmul, product
from tinygrad_edu.ops.movement import Axis, expand, expand_dims, getitem, scatter, sum
from tinygrad_edu.ops.op import Op
from tinygrad_edu.ops.reductions import count, max, mean, var

# Softmax and its relatives. The largest element is subtracted first, which changes nothing and never overflows.
# A slice that is -inf throughout (every choice is masked) has softmax 0, not NaN. ------------------------------------


def _largest(x: Any, axis: Axis) -> Any:
    """The largest element along the axis as a constant, 0 where it is not finite or there is none."""
    if not x.size:
        return 0
    largest = constant(max(x, axis=axis, keepdims=True))
    return where(absolute(largest) < np.inf, largest, 0)


def _softmax(x: Any, axis: Axis) -> Any:
    weights = np.exp(x - _largest(x, axis))
    total = np.sum(weights, axis=axis, keepdims=True)
    weights /= np.where(total == 0, 1, total)
    return weights


def _softmax_definition(x: Any, axis: Axis) -> Any:
    weights = exp(x - _largest(x, axis))
    return divide_or_zero(weights, sum(weights, axis=axis, keepdims=True))


def _logsumexp(x: Any, axis: Axis, keepdims: bool) -> Any:
    largest = _largest(x, axis)
    with np.errstate(divide="ignore"):  # log(0) = -inf is the right answer for a slice of -inf
        result = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest
    return result if keepdims else np.squeeze(result, axis)


def _log_softmax(x: Any, axis: Axis) -> Any:
    shifted = x - _largest(x, axis)  # exact for large x of nearly the same size; x - logsumexp(x) is not
    with np.errstate(divide="ignore"):
        return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def _logsumexp_definition(x: Any, axis: Axis, keepdims: bool) -> Any:
    largest = _largest(x, axis)
    total = sum(exp(x - largest), axis=axis, keepdims=True)
    result = where(equal(total, 0), -np.inf, log_or_zero(total) + largest)
    return result if keepdims else sum(result, axis=axis, keepdims=False)


def _softmax_rule(g: Any, y: Any, axis: Axis) -> Any:
    return y * (g - sum(g * y, axis=axis, keepdims=True))


softmax: Op = Op(
    "softmax",
    _softmax,
    vjp=(lambda g, y, x, axis: _softmax_rule(g, y, axis),),
    formula=("y ⊙ (G − Σ G ⊙ y)",),
    compose=_softmax_definition,
)
logsumexp: Op = Op(
    "logsumexp",
    _logsumexp,
    vjp=(
        lambda g, y, x, axis, keepdims: expand(g, shape=x.shape, axis=axis, keepdims=keepdims) * softmax(x, axis=axis),
    ),
    formula=("expand(G) ⊙ softmax(x)",),
    compose=_logsumexp_definition,
)
log_softmax: Op = Op(
    "log_softmax",
    _log_softmax,
    vjp=(lambda g, y, x, axis: g - exp(y) * sum(g, axis=axis, keepdims=True),),
    formula=("G − exp(y) ⊙ Σ G",),
    compose=lambda x, axis: x - logsumexp(x, axis=axis, keepdims=True),
)

# gelu(x) = x Φ(x), Φ the normal distribution, exact or through tanh (Hendrycks & Gimpel 2016, arXiv:1606.08415)

_ROOT_TWO = math.sqrt(2)
_ROOT_TWO_PI = math.sqrt(2 * math.pi)
_ROOT_TWO_OVER_PI = math.sqrt(2 / math.pi)
_CUBIC = 0.044715


def _gelu(x: Any) -> Any:
    share = 0.5 * (1 + _erf(x / _ROOT_TWO))
    return x * share, (share,)


gelu: Op = Op(
    "gelu",
    _gelu,
    vjp=(lambda g, y, x, share: g * (share + x * exp(-square(x) / 2) / _ROOT_TWO_PI),),
    formula=("G ⊙ (Φ + x ⊙ exp(−x² / 2) / 2.507)",),
    saves=("Φ",),
    compose=lambda x: x * (0.5 * (1 + erf(x / _ROOT_TWO))),
)


def _gelu_tanh(x: Any) -> Any:
    t = np.tanh(_ROOT_TWO_OVER_PI * (x + _CUBIC * x * x * x))
    return 0.5 * x * (1 + t), (t,)


gelu_tanh: Op = Op(
    "gelu_tanh",
    _gelu_tanh,
    vjp=(
        lambda g, y, x, t: (
            g * (0.5 * (1 + t) + 0.5 * x * (1 - square(t)) * (_ROOT_TWO_OVER_PI * (1 + 3 * _CUBIC * square(x))))
        ),
    ),
    formula=("G ⊙ (0.5 ⊙ (1 + t) + 0.5 ⊙ x ⊙ (1 − t²) ⊙ 0.7979 ⊙ (1 + 0.1341 ⊙ x²))",),
    saves=("t",),
    compose=lambda x: 0.5 * x * (1 + tanh(_ROOT_TWO_OVER_PI * (x + _CUBIC * x * square(x)))),
)

# linear: y = x Wᵀ + b ------------------------------------------------------------------------------------------------


def _linear(x: Any, weight: Any, bias: Any) -> Any:
    if weight.ndim != 2:
        raise ValueError("np.matmul would take a stack of weights")
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # (..., in) -> (N, in): one product, not a stack of them
    y = np.matmul(rows, weight.T).reshape(*x.shape[:-1], weight.shape[0])  # (N, in) @ (in, out) -> (..., out)
    return y if bias is None else np.add(y, bias, out=y if bias.dtype == y.dtype else None)


def _linear_backward(g: Any, y: Any, x: Any, weight: Any, bias: Any, needed: tuple[bool, ...]) -> Any:
    n = math.prod(x.shape[:-1])
    g_rows, x_rows = g.reshape(n, g.shape[-1]), x.reshape(n, x.shape[-1])  # (..., out) -> (N, out)
    return (
        np.matmul(g_rows, weight).reshape(x.shape) if needed[0] else None,  # (N, out) @ (out, in) -> (..., in)
        np.matmul(g_rows.T, x_rows) if needed[1] else None,  # (out, N) @ (N, in) -> (out, in)
        g if needed[2] else None,
    )


def _matrix(x: Any) -> Any:
    return x if x.ndim > 1 else expand_dims(x, axis=0)


def _linear_hint(x: Any, weight: Any, bias: Any) -> str:
    if weight.ndim != 2:
        return f"the weight must be (out_features, in_features), got shape {weight.shape}"
    out_features, in_features = weight.shape
    last = x.shape[-1] if np.ndim(x) else "none"
    if last != in_features:
        return (
            f"the weight is (out_features={out_features}, in_features={in_features}), so the last axis of the input "
            f"must be {in_features}, got {last}{'. Did you pass weight.T?' if last == out_features else ''}"
        )
    return f"the bias must have shape {(out_features,)}, got {np.shape(bias)}"


linear: Op = Op(
    "linear",
    _linear,
    vjp=(
        lambda g, y, x, w, b: product(g, w),
        lambda g, y, x, w, b: matmul(_matrix(g).mT, _matrix(x)),
        lambda g, y, x, w, b: g,
    ),
    formula=("G · w", "Gᵀ · x", "G"),
    notation="{} · {}ᵀ + {}",
    backward=_linear_backward,
    compose=lambda x, w, b: product(x, w.mT) if b is None else product(x, w.mT) + b,
    hint=_linear_hint,
)

# layer_norm: each row to mean 0 and variance 1, then weight and bias (Ba, Kiros & Hinton 2016, arXiv:1607.06450) -----


def _layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    if not x.ndim or any(v is not None and v.shape != x.shape[-1:] for v in (weight, bias)):
        raise ValueError("weight or bias would be broadcast")
    centred = x - np.mean(x, axis=-1, keepdims=True)
    scale = 1 / np.sqrt(np.mean(np.square(centred), axis=-1, keepdims=True) + eps)
    normal = centred * scale
    y = normal if weight is None else normal * weight
    return y if bias is None else y + bias, (normal, scale)


def _layer_norm_rule(g: Any, y: Any, x: Any, w: Any, b: Any, normal: Any, scale: Any, eps: float) -> Any:
    g = g if w is None else g * w
    return scale * (g - mean(g, axis=-1, keepdims=True) - normal * mean(g * normal, axis=-1, keepdims=True))


def _layer_norm_definition(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    y = (x - mean(x, axis=-1, keepdims=True)) / sqrt(var(x, axis=-1, keepdims=True, ddof=0) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _layer_norm_hint(x: Any, weight: Any, bias: Any, eps: float) -> str:
    if not x.ndim:
        return "needs a last axis to work on"
    got = " and ".join(f"{name} {np.shape(v)}" for name, v in (("weight", weight), ("bias", bias)) if v is not None)
    return f"weight and bias must have the shape of the last axis {x.shape[-1:]}, got {got}"


layer_norm: Op = Op(
    "layer_norm",
    _layer_norm,
    vjp=(
        _layer_norm_rule,
        lambda g, y, x, w, b, normal, scale, eps: g * normal,
        lambda g, y, x, w, b, normal, scale, eps: g,
    ),
    formula=("r ⊙ (G ⊙ w − mean(G ⊙ w) − x̂ ⊙ mean(G ⊙ w ⊙ x̂))", "G ⊙ x̂", "G"),
    saves=("x̂", "r"),
    compose=_layer_norm_definition,
    hint=_layer_norm_hint,
)

# Losses --------------------------------------------------------------------------------------------------------------


def _within(ids: Any, number: int, name: str, of: str) -> Any:
    """The ids, if all are from 0 to number - 1; NumPy would count negative ones from the end."""
    if ids.size and not (0 <= ids.min() and ids.max() < number):
        wrong = ids[(ids < 0) | (ids >= number)][0]
        raise IndexError(f"{name} {wrong} is out of range: there are {number} {of}, from 0 to {number - 1}")
    return ids


def _cross_entropy(logits: Any, target: Any, ignore_index: int, label_smoothing: float, reduction: str) -> Any:
    kept = target != ignore_index
    classes = logits.shape[-1]
    _within(target[kept], classes, "target", "classes")
    index = np.where(kept, target, 0)[..., None]
    log_p = _log_softmax(logits, -1)
    loss = -np.take_along_axis(log_p, index, -1)[..., 0]
    slope = np.exp(log_p)  # becomes p - q: q is the target distribution, 1 at the target less what smoothing spreads
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * np.mean(log_p, axis=-1)
        slope -= label_smoothing / classes
    np.put_along_axis(slope, index, np.take_along_axis(slope, index, -1) - (1 - label_smoothing), -1)
    if not kept.all():
        loss, slope = np.where(kept, loss, 0), np.where(kept[..., None], slope, 0)
    if reduction == "none":
        return loss, (slope,)
    if reduction == "sum":
        return np.sum(loss), (slope,)
    with np.errstate(invalid="ignore"):  # no target left: 0 / 0 is NaN, as in PyTorch, with zero gradients
        number = np.result_type(logits, np.float32).type(np.count_nonzero(kept))  # float16 ends at 65504
        mean_loss = np.sum(loss, dtype=np.result_type(loss, number)) / number
        return mean_loss.astype(loss.dtype), (np.divide(slope, np.maximum(number, 1), out=slope),)


def _cross_entropy_definition(
    logits: Any, target: Any, ignore_index: int, label_smoothing: float, reduction: str
) -> Any:
    target = np.asarray(target)
    kept = target != ignore_index
    log_p = log_softmax(logits, axis=-1)
    places = (*np.indices(target.shape), np.where(kept, target, 0))
    loss = -getitem(log_p, index=places)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * mean(log_p, axis=-1, keepdims=False)
    loss = where(kept, loss, 0)
    if reduction == "none":
        return loss
    total = sum(loss, axis=None, keepdims=False)
    return total if reduction == "sum" else total / logits.dtype.type(np.count_nonzero(kept))


cross_entropy: Op = Op(
    "cross_entropy",
    _cross_entropy,
    vjp=(
        lambda g, y, x, target, slope, **options: (g if g.ndim == 0 else expand_dims(g, axis=-1)) * slope,
        None,
    ),
    formula=("G ⊙ (p − q) / n", ""),
    saves=("(p − q) / n",),
    compose=_cross_entropy_definition,
)


def _squared_error_hint(prediction: Any, target: Any) -> str:
    return f"the prediction {np.shape(prediction)} and the target {np.shape(target)} must have the same shape"


mse_loss: Op = Op(
    "mse_loss",
    lambda p, t: np.mean(np.square(p - t)),
    vjp=(
        lambda g, y, p, t: g * (2 * (p - t)) / count(p, axis=None),
        lambda g, y, p, t: -g * (2 * (p - t)) / count(t, axis=None),
    ),
    formula=("G ⊙ 2 ⊙ (p − t) / n", "−G ⊙ 2 ⊙ (p − t) / n"),
    notation="mean(({} − {})²)",
    compose=lambda p, t: mean(square(p - t), axis=None, keepdims=False),
    hint=_squared_error_hint,
)
# Each element's -t log σ(x) - (1 - t) log(1 - σ(x)), without computing σ(x) first.
binary_cross_entropy_with_logits: Op = Op(
    "binary_cross_entropy_with_logits",
    lambda x, t: np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x))),
    vjp=(lambda g, y, x, t: g * (sigmoid(x) - t), lambda g, y, x, t: -g * x),
    formula=("G ⊙ (σ(x) − t)", "−G ⊙ x"),
    compose=lambda x, t: softplus(x) - x * t,
    hint=_squared_error_hint,
)

# embedding, dropout --------------------------------------------------------------------------------------------------

embedding: Op = Op(
    "embedding",
    lambda ids, weight: weight[_within(ids, weight.shape[0], "id", "rows")],
    vjp=(None, lambda g, y, ids, weight: scatter(g, index=ids, shape=weight.shape)),
    formula=("", "scatter(G)"),
    notation="{1}[{0}]",
)
dropout: Op = Op(  # kept: the mask that was drawn; scale = 1 / (1 - p), so that the expected value stays what it was
    "dropout",
    lambda x, kept, scale: x * kept * scale,
    vjp=(lambda g, y, x, kept, scale: g * kept * scale, None),
    formula=("G ⊙ kept ⊙ scale", ""),
)

# attention: softmax(q kᵀ / √d + mask) v (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1) -----------------------

width: Op = Op("width", lambda x: np.result_type(x, np.float16).type(x.shape[-1]), notation="d")


def _scores(q: Any, k: Any, mask: Any, is_causal: bool) -> Any:
    """How well each query fits each key; -inf where it may not look."""
    scores = matmul(q, k.mT) / sqrt(width(q))  # (..., T, D) @ (..., D, S) -> (..., T, S)
    if mask is not None:
        scores = where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if is_causal:
        scores = where(np.tri(*scores.shape[-2:]) == 1, scores, -np.inf)  # query t sees keys 0 to t
    return scores


def _attention(q: Any, k: Any, v: Any, mask: Any, is_causal: bool) -> Any:
    weights = _softmax(_scores(q, k, mask, is_causal), -1)
    return np.matmul(weights, v), (weights,)  # (..., T, S) @ (..., S, E) -> (..., T, E)


def _scores_gradient(g: Any, y: Any, v: Any, weights: Any) -> Any:
    return weights * (matmul(g, v.mT) - sum(g * y, axis=-1, keepdims=True))


def _attention_backward(
    g: Any, y: Any, q: Any, k: Any, v: Any, mask: Any, weights: Any, needed: tuple[bool, ...], is_causal: bool
) -> Any:
    inner: Any = _scores_gradient(g, y, v, weights) if needed[0] or needed[1] or needed[3] else None
    scaled: Any = None if inner is None else inner / sqrt(width(q))
    return (
        np.matmul(scaled, k) if needed[0] else None,
        np.matmul(scaled.mT, q) if needed[1] else None,
        np.matmul(weights.mT, g) if needed[2] else None,
        inner if needed[3] else None,
    )


def _attention_hint(q: Any, k: Any, v: Any, mask: Any, is_causal: bool) -> str:
    return (
        f"expected query (..., T, D), key (..., S, D), value (..., S, E) and a mask that broadcasts to (..., T, S); "
        f"got query {q.shape}, key {k.shape}, value {v.shape}, mask {None if mask is None else mask.shape}"
    )


attention: Op = Op(
    "attention",
    _attention,
    vjp=(
        lambda g, y, q, k, v, mask, P, is_causal: matmul(_scores_gradient(g, y, v, P), k) / sqrt(width(q)),
        lambda g, y, q, k, v, mask, P, is_causal: matmul(_scores_gradient(g, y, v, P).mT, q) / sqrt(width(q)),
        lambda g, y, q, k, v, mask, P, is_causal: matmul(P.mT, g),
        lambda g, y, q, k, v, mask, P, is_causal: _scores_gradient(g, y, v, P),
    ),
    formula=(
        "(P ⊙ (G · vᵀ − Σ G ⊙ y)) · k / √d",
        "(P ⊙ (G · vᵀ − Σ G ⊙ y))ᵀ · q / √d",
        "Pᵀ · G",
        "P ⊙ (G · vᵀ − Σ G ⊙ y)",
    ),
    notation="softmax({} · {}ᵀ / √d) · {}",
    saves=("P",),
    backward=_attention_backward,
    compose=lambda q, k, v, mask, is_causal: matmul(softmax(_scores(q, k, mask, is_causal), axis=-1), v),
    hint=_attention_hint,
)
# The attention weights alone, (..., T, S): each row adds up to 1.
attention_weights: Op = Op(
    "attention_weights",
    lambda q, k, mask, is_causal: _softmax(_scores(q, k, mask, is_causal), -1),
    vjp=(
        lambda g, y, q, k, mask, is_causal: matmul(_softmax_rule(g, y, -1), k) / sqrt(width(q)),
        lambda g, y, q, k, mask, is_causal: matmul(_softmax_rule(g, y, -1).mT, q) / sqrt(width(q)),
        lambda g, y, q, k, mask, is_causal: _softmax_rule(g, y, -1),
    ),
    formula=("(y ⊙ (G − Σ G ⊙ y)) · k / √d", "(y ⊙ (G − Σ G ⊙ y))ᵀ · q / √d", "y ⊙ (G − Σ G ⊙ y)"),
    notation="softmax({} · {}ᵀ / √d)",
    compose=lambda q, k, mask, is_causal: softmax(_scores(q, k, mask, is_causal), axis=-1),
)
