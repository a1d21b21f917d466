"""Ops that a network is made of, each with a fast kernel and its definition in primitive ops (`compose`).

The definition serves three masters: the tests hold the kernel against it, higher derivatives go through it, and a
picture can open the op and show what is inside.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tinygrad_edu.errors import OutOfRangeError
from tinygrad_edu.ops.blocks import fits, floats, ones, rows, walk, walk_elements, walk_rows
from tinygrad_edu.ops.elementwise import (
    _erf,
    broadcast_hint,
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
from tinygrad_edu.ops.movement import Axis, expand, expand_dims, getitem, normalize_axes, scatter, sum
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
    axes = normalize_axes(axis if x.ndim else (), x.ndim)
    last = tuple(range(x.ndim - len(axes), x.ndim))
    y = np.array(floats(x if axes == last else np.moveaxis(x, axes, last)), order="C")
    n = math.prod(y.shape[x.ndim - len(axes) :])
    walk(lambda block: _softmax_columns(block.T), y.reshape(y.size // n if n else 0, n))
    return y if axes == last else np.moveaxis(y, last, axes)


def _softmax_columns(x: Any) -> None:
    """Softmax over the second last axis, in place. A column of -inf throughout becomes 0: its sum is taken as 1.

    Any other sum is at least 1, since the largest element became exp(0).
    """
    x -= np.maximum.reduce(x, axis=-2, keepdims=True, initial=np.finfo(x.dtype).min)
    np.exp(x, out=x)
    total = np.matmul(ones(x.shape[-2], x.dtype), x)[..., None, :]  # np.sum takes five times as long
    x /= np.maximum(total, 1)


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


def _gelu(block: Callable[..., Any], x: Any) -> Any:
    y, share = walk_elements(block, (floats(x),), 2)
    return y, (share,)


def _gelu_backward(block: Callable[..., Any], g: Any, y: Any, x: Any, share: Any, needed: tuple[bool, ...]) -> Any:
    return walk_elements(block, (g, x, share))


def _gelu_block(x: Any, y: Any = None, share: Any = None) -> Any:
    share = np.add(_erf(x / _ROOT_TWO), 1, out=share)
    share *= 0.5
    return np.multiply(x, share, out=y), share


def _gelu_backward_block(g: Any, x: Any, share: Any, result: Any = None) -> Any:
    result = np.square(x, out=result)
    result *= -0.5
    np.exp(result, out=result)
    result *= x
    result /= _ROOT_TWO_PI
    result += share
    result *= g
    return (result,)


gelu: Op = Op(
    "gelu",
    partial(_gelu, _gelu_block),
    vjp=(lambda g, y, x, share: g * (share + x * exp(-square(x) / 2) / _ROOT_TWO_PI),),
    formula=("G ⊙ (Φ + x ⊙ exp(−x² / 2) / 2.507)",),
    saves=("Φ",),
    backward=partial(_gelu_backward, _gelu_backward_block),
    compose=lambda x: x * (0.5 * (1 + erf(x / _ROOT_TWO))),
)


def _gelu_tanh_block(x: Any, y: Any = None, share: Any = None) -> Any:
    """0.5 (1 + tanh(u)) is 1 / (1 + exp(-2u)), which has fewer steps; and tanh takes up to twice as long as exp."""
    share = np.square(x, out=share)
    share *= -2 * _ROOT_TWO_OVER_PI * _CUBIC
    share += -2 * _ROOT_TWO_OVER_PI
    share *= x
    with np.errstate(over="ignore"):  # 1 / inf = 0
        np.exp(share, out=share)
    share += 1
    np.reciprocal(share, out=share)
    return np.multiply(x, share, out=y), share


def _gelu_tanh_backward_block(g: Any, x: Any, share: Any, result: Any = None) -> Any:
    result = np.square(x, out=result)
    result *= 6 * _ROOT_TWO_OVER_PI * _CUBIC
    result += 2 * _ROOT_TWO_OVER_PI
    result *= x
    result *= 1 - share
    result += 1
    result *= share
    result *= g
    return (result,)


gelu_tanh: Op = Op(
    "gelu_tanh",
    partial(_gelu, _gelu_tanh_block),
    vjp=(
        lambda g, y, x, share: (
            g * share * (1 + x * (1 - share) * (2 * _ROOT_TWO_OVER_PI * (1 + 3 * _CUBIC * square(x))))
        ),
    ),
    formula=("G ⊙ Φ ⊙ (1 + x ⊙ (1 − Φ) ⊙ 1.596 ⊙ (1 + 0.1341 ⊙ x²))",),
    saves=("Φ",),
    backward=partial(_gelu_backward, _gelu_tanh_backward_block),
    compose=lambda x: 0.5 * x * (1 + tanh(_ROOT_TWO_OVER_PI * (x + _CUBIC * x * square(x)))),
)

# linear: y = x Wᵀ + b ------------------------------------------------------------------------------------------------


def _linear(x: Any, weight: Any, bias: Any) -> Any:
    if weight.ndim != 2:
        raise ValueError("np.matmul would take a stack of weights")
    y = np.matmul(rows(x), weight.T)  # (..., in) -> (N, in): one product, not a stack of them; @ (in, out) -> (N, out)
    if bias is not None:
        y = np.add(y, bias, out=y if bias.dtype == y.dtype else None)
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], weight.shape[0])  # (N, out) -> (..., out)


def _linear_backward(g: Any, y: Any, x: Any, weight: Any, bias: Any, needed: tuple[bool, ...]) -> Any:
    return (
        np.matmul(rows(g), weight).reshape(x.shape) if needed[0] else None,  # (N, out) @ (out, in) -> (..., in)
        np.matmul(rows(g).T, rows(x)) if needed[1] else None,  # (out, N) @ (N, in) -> (out, in)
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
    last = x.shape[-1:]
    if not last or (weight is not None and weight.shape != last) or (bias is not None and bias.shape != last):
        raise ValueError("weight or bias would be broadcast")
    x = floats(x)

    def outputs() -> Any:
        given = [v for v in (weight, bias) if v is not None]
        weighted = [(x.shape, np.result_type(x, *given))] if given else []
        return [(x.shape, x.dtype), ((*x.shape[:-1], 1), x.dtype), *weighted]

    normal, scale, *y = walk_rows(partial(_layer_norm_block, weight, bias, eps), (x,), outputs)
    return y[0] if y else normal, (normal, scale)


def _layer_norm_block(
    weight: Any, bias: Any, eps: float, x: Any, normal: Any = None, scale: Any = None, y: Any = None
) -> Any:
    n = x.shape[-1]
    normal = np.subtract(x, _row_sum(x, ones(n, x.dtype)) / n, out=normal)
    scale = np.sqrt(n / (_row_sum(normal, normal) + n * eps), out=scale)  # 1 / √(variance + eps)
    normal *= scale
    if weight is None and bias is None:
        return normal, scale
    y = np.multiply(normal, 1 if weight is None else weight, out=y)
    return normal, scale, y if bias is None else np.add(y, bias, out=y)


def _row_sum(a: Any, b: Any) -> Any:
    """The sum of a ⊙ b over the last axis, in a third of np.sum's time; of float16 in float32."""
    dtype = np.float32 if a.dtype == np.float16 else None
    return np.vecdot(a, b, dtype=dtype)[..., None]


def _layer_norm_backward(
    g: Any, y: Any, x: Any, w: Any, b: Any, normal: Any, scale: Any, needed: tuple[bool, ...], eps: float
) -> Any:
    result = None
    if needed[0]:
        kernel = partial(_layer_norm_backward_block, w)
        (result,) = walk_rows(kernel, (g, normal, scale), lambda: [(normal.shape, normal.dtype)])
    return (
        result,
        np.einsum("nd,nd->d", rows(g), rows(normal)) if needed[1] else None,
        g if needed[2] else None,
    )


def _layer_norm_backward_block(weight: Any, g: Any, normal: Any, scale: Any, result: Any = None) -> Any:
    n = g.shape[-1]
    result = np.multiply(g, 1 if weight is None else weight, out=result)
    along = _row_sum(result, normal) / n
    result -= _row_sum(result, ones(n, result.dtype)) / n
    result -= normal * along
    result *= scale
    return (result,)


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
    backward=_layer_norm_backward,
    compose=_layer_norm_definition,
    hint=_layer_norm_hint,
)

# Losses --------------------------------------------------------------------------------------------------------------


def _within(ids: Any, number: int, name: str, of: str) -> Any:
    """The ids, if all are from 0 to number - 1; NumPy would count negative ones from the end."""
    if ids.dtype.kind not in "iu":
        raise TypeError("NumPy would take booleans as a mask")
    if ids.size and not (0 <= ids.min() and ids.max() < number):
        wrong = ids[(ids < 0) | (ids >= number)][0]
        raise OutOfRangeError(f"{name} {wrong} is out of range: there are {number} {of}, from 0 to {number - 1}")
    return ids


def _cross_entropy(logits: Any, target: Any, ignore_index: int, label_smoothing: float, reduction: str) -> Any:
    x, index = rows(floats(logits)), target.reshape(-1)  # (..., C) -> (N, C), (...) -> (N,)
    classes, kept = x.shape[-1], index != ignore_index
    every = kept.all()
    _within(index if every else index[kept], classes, "target", "classes")
    places = np.arange(index.size), index if every else np.where(kept, index, 0)
    x = x - np.maximum.reduce(x, axis=-1, keepdims=True, initial=np.finfo(x.dtype).min)
    slope = np.exp(x)  # becomes p - q: q is the target distribution, 1 at the target less what smoothing spreads
    total = np.add.reduce(slope, axis=-1, keepdims=True)
    slope /= total
    with np.errstate(divide="ignore"):
        log_total = np.log(total)[:, 0]
    loss = log_total - x[places]
    if label_smoothing:
        loss = (1 - label_smoothing) * loss + label_smoothing * (log_total - np.mean(x, axis=-1))
        slope -= label_smoothing / classes
    slope[places] -= 1 - label_smoothing
    if not every:
        loss, slope = np.where(kept, loss, 0), np.where(kept[:, None], slope, 0)
    if reduction == "mean":
        wide = np.float32 if loss.dtype == np.float16 else loss.dtype.type  # float16 ends at 65504
        number = wide(np.count_nonzero(kept) or np.nan)  # no target left: NaN, as in PyTorch, with zero gradients
        loss = loss.dtype.type(np.add.reduce(loss, dtype=wide) / number)
        slope /= number if number == number else wide(1)
    elif reduction == "sum":
        loss = np.sum(loss)
    else:
        loss = loss.reshape(target.shape)
    return loss, (slope.reshape(logits.shape),)


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


def _cross_entropy_hint(logits: Any, target: Any, **options: Any) -> str:
    given = target.shape
    if logits.shape in [given[:axis] + given[axis + 1 :] for axis in range(len(given))]:
        return f"the arguments {logits.shape} and {given} look swapped: the logits come first, then the target"
    if target.dtype.kind not in "iu" and target.ndim < logits.ndim:
        return f"the target must be integers, got {target.dtype}: write target.astype(int)"
    return f"for logits (..., C) the target must have the shape (...), got {logits.shape} and {target.shape}"


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
    hint=_cross_entropy_hint,
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


def _embedding_hint(ids: Any, weight: Any) -> str:
    if ids.dtype.kind not in "iu":
        return f"ids must be integers, got {ids.dtype}: write ids.astype(int)"
    return f"the weight must have one row for each id, (V, D), got shape {weight.shape}"


embedding: Op = Op(
    "embedding",
    lambda ids, weight: weight[_within(ids, weight.shape[0], "id", "rows")],
    vjp=(None, lambda g, y, ids, weight: scatter(g, index=ids, shape=weight.shape)),
    formula=("", "scatter(G)"),
    notation="{1}[{0}]",
    hint=_embedding_hint,
)
dropout: Op = Op(  # kept: the mask that was drawn; scale = 1 / (1 - p), so that the expected value stays what it was
    "dropout",
    lambda x, kept, scale: x * kept * scale,
    vjp=(lambda g, y, x, kept, scale: g * kept * scale, None),
    formula=("G ⊙ kept ⊙ scale", ""),
)

# attention: softmax(q kᵀ / √d + mask) v (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1) -----------------------

width: Op = Op(
    "width",
    lambda x: np.result_type(x, np.float16).type(x.shape[-1]),
    notation="d",
    hint=lambda x: "a single number has no last axis to measure",
)


def _scores(q: Any, k: Any, mask: Any, is_causal: bool) -> Any:
    """How well each query fits each key; -inf where it may not look."""
    scores = matmul(q, k.mT) / sqrt(width(q))  # (..., T, D) @ (..., D, S) -> (..., T, S)
    if mask is not None:
        scores = where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if is_causal:
        scores = where(np.tri(*scores.shape[-2:]) == 1, scores, -np.inf)  # query t sees keys 0 to t
    return scores


def _attend(q: Any, k: Any, v: Any, mask: Any, is_causal: bool) -> tuple[Any, Any]:
    """The weighted sums of the values, unless v is None, and the weights."""
    mask = mask if mask is None or mask.ndim > 1 else np.atleast_2d(mask)
    given = [x for x in (q, k, v, mask) if x is not None]
    leads = {x.shape[:-2] for x in given}
    lead = leads.pop() if len(leads) == 1 else np.broadcast_shapes(*leads)
    dtype = np.result_type(np.float16, *[x for x in given if x.dtype != bool])
    columns = np.empty((*lead, k.shape[-2], q.shape[-2]), dtype)  # transposed: NumPy is faster along this axis
    y = None  # else its axes are in memory, too, in the order of the axes of q, which saves copies
    if v is not None:
        y = np.empty_like(q, dtype, shape=(*lead, q.shape[-2], v.shape[-1]))
    _walk_heads(partial(_attention_block, is_causal), lead, q, k, v, mask, columns, y)
    return y, columns.mT


def _attention(q: Any, k: Any, v: Any, mask: Any, is_causal: bool) -> Any:
    y, weights = _attend(q, k, v, mask, is_causal)
    return y, (weights,)


def _walk_heads(block: Callable[..., None], lead: tuple[int, ...], *arrays: Any) -> None:
    """Walk along the longest of the leading axes, to which all arrays are broadcast."""
    if not lead or fits(*arrays):
        block(*arrays)
        return
    same = [x if x is None or x.shape[:-2] == lead else np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in arrays]
    walk(block, *same, axis=lead.index(builtins.max(lead)))


def _attention_block(is_causal: bool, q: Any, k: Any, v: Any, mask: Any, columns: Any, y: Any) -> None:
    np.matmul(k, (q / math.sqrt(q.shape[-1])).mT, out=columns)  # (..., S, D) @ (..., D, T) -> (..., S, T)
    if mask is not None and mask.dtype == bool:
        np.copyto(columns, -np.inf, where=~mask.mT)
    elif mask is not None:
        columns += mask.mT
    if is_causal:
        S, T = columns.shape[-2:]
        np.copyto(columns, -np.inf, where=np.tri(S, T, -1, dtype=bool))  # query t sees keys 0 to t
    _softmax_columns(columns)
    if y is not None:
        np.matmul(columns.mT, v, out=y)  # (..., T, S) @ (..., S, E) -> (..., T, E)


def _scores_gradient(g: Any, y: Any, v: Any, weights: Any) -> Any:
    return weights * (matmul(g, v.mT) - sum(g * y, axis=-1, keepdims=True))  # Σ G ⊙ y = Σ P ⊙ (G · vᵀ), but shorter


def _attention_backward(
    g: Any, y: Any, q: Any, k: Any, v: Any, mask: Any, weights: Any, needed: tuple[bool, ...], is_causal: bool
) -> Any:
    lead = weights.shape[:-2]
    pairs = zip((q, k, v, weights), needed, strict=True)
    results = tuple(np.empty_like(x, y.dtype, shape=(*lead, *x.shape[-2:])) if need else None for x, need in pairs)
    _walk_heads(_attention_backward_block, lead, g, y, q, k, v, weights, *results)
    return results


def _attention_backward_block(
    g: Any, y: Any, q: Any, k: Any, v: Any, weights: Any, to_q: Any, to_k: Any, to_v: Any, to_mask: Any
) -> None:
    if to_v is not None:
        np.matmul(weights.mT, g, out=to_v)  # (..., S, T) @ (..., T, E) -> (..., S, E)
    if to_q is to_k is to_mask:  # None of them is wanted
        return
    columns = np.matmul(v, g.mT)  # (..., S, E) @ (..., E, T) -> (..., S, T)
    columns -= np.vecdot(g, y)[..., None, :]
    columns *= weights.mT
    if to_mask is not None:
        to_mask[...] = columns.mT
    if to_q is not None:
        np.matmul(columns.mT, k, out=to_q)  # (..., T, S) @ (..., S, D) -> (..., T, D)
        to_q /= math.sqrt(q.shape[-1])
    if to_k is not None:
        np.matmul(columns, q, out=to_k)  # (..., S, T) @ (..., T, D) -> (..., S, D)
        to_k /= math.sqrt(q.shape[-1])


def _attention_hint(q: Any, k: Any, v: Any, mask: Any, is_causal: bool) -> str:
    """What does not fit: the widths, the number of values, or what broadcasts."""
    named = {"query": q, "key": k, "value": v, "mask": mask}
    got = ", ".join(f"{name} {x.shape}" for name, x in named.items() if x is not None)
    expected = "expected query (..., T, D), key (..., S, D), value (..., S, E), mask (..., T, S)"
    if min(x.ndim for x in (q, k, v) if x is not None) < 2:
        wrong = "too few axes"
    elif q.shape[-1] != k.shape[-1]:
        wrong = f"the width D is {q.shape[-1]} in the query and {k.shape[-1]} in the key"
    elif v is not None and k.shape[-2] != v.shape[-2]:
        wrong = f"there are {k.shape[-2]} keys and {v.shape[-2]} values"
    elif mask is not None and broadcast_hint(mask, np.zeros((*q.shape[:-1], k.shape[-2]))):
        wrong = f"the mask does not broadcast to (..., {q.shape[-2]}, {k.shape[-2]})"
    else:
        wrong = "the leading axes do not broadcast"
    return f"{wrong}; {expected}, got {got}"


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
    lambda q, k, mask, is_causal: _attend(q, k, None, mask, is_causal)[1],
    vjp=(
        lambda g, y, q, k, mask, is_causal: matmul(_softmax_rule(g, y, -1), k) / sqrt(width(q)),
        lambda g, y, q, k, mask, is_causal: matmul(_softmax_rule(g, y, -1).mT, q) / sqrt(width(q)),
        lambda g, y, q, k, mask, is_causal: _softmax_rule(g, y, -1),
    ),
    formula=("(y ⊙ (G − Σ G ⊙ y)) · k / √d", "(y ⊙ (G − Σ G ⊙ y))ᵀ · q / √d", "y ⊙ (G − Σ G ⊙ y)"),
    notation="softmax({} · {}ᵀ / √d)",
    compose=lambda q, k, mask, is_causal: softmax(_scores(q, k, mask, is_causal), axis=-1),
    hint=lambda q, k, mask, is_causal: _attention_hint(q, k, None, mask, is_causal),
)
