"""The same values and gradients as PyTorch, for every public function, in float32 and float64.

PyTorch is optional: without it these tests skip, unless TINYGRAD_EDU_REQUIRE_TORCH is set, as it is in CI.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_edu as te
import tinygrad_edu.functional as F
from tests.requires import require_torch
from tests.samples import real
from tinygrad_edu import Tensor

torch = require_torch()
T: Any = torch.nn.functional

Function = Callable[..., Any]
Case = tuple[str, Function, Function, tuple[Any, ...]]
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-11}


def tensor(x: Any) -> Any:
    return torch.tensor(np.array(x)) if isinstance(x, np.ndarray) else x


def both(case: Case, dtype: Any) -> tuple[list[Any], list[Any]]:
    """The outputs and the gradients of the float inputs, ours and PyTorch's."""
    _, ours, theirs, inputs = case
    arrays = [x.astype(dtype) if getattr(x, "dtype", None) == np.float64 else x for x in inputs]
    floats = [i for i, x in enumerate(arrays) if isinstance(x, np.ndarray) and x.dtype == dtype]
    mine = [Tensor(x, requires_grad=True) if i in floats else x for i, x in enumerate(arrays)]
    other = [tensor(x).requires_grad_() if i in floats else tensor(x) for i, x in enumerate(arrays)]
    y, z = ours(*mine), theirs(*other)
    results = [y.data], [z.detach().numpy()]
    if y.requires_grad:
        g = real(*y.shape, seed=9).astype(dtype)
        y.backward(g)
        z.backward(torch.tensor(g))
        results[0].extend(mine[i].grad.data for i in floats if mine[i].grad is not None)
        results[1].extend(other[i].grad.numpy() for i in floats if other[i].grad is not None)
    return results


def check(case: Case, dtype: Any) -> None:
    ours, theirs = both(case, dtype)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def parity(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[name for name, *_ in cases])


# Element by element --------------------------------------------------------------------------------------------------

x23, positive, wide = real(2, 3), real(2, 3, low=0.2, high=3), real(4, 5, low=-6, high=6)
pairs = {
    "same": (x23, real(2, 3, seed=1)),
    "row": (x23, real(3)),
    "outer": (real(2, 1), real(1, 3)),
    "0-d": (x23, real()),
}

ELEMENTWISE: list[Case] = [
    *((f"{name} {label}", f, f, ab)
      for name, f in {
          "add": lambda a, b: a + b,
          "sub": lambda a, b: a - b,
          "mul": lambda a, b: a * b,
          "div": lambda a, b: a / b,
          "numbers": lambda a, b: 2 - 3 * a / 4 + 1 / b - (b - 1.5),
          "greater": lambda a, b: a > b,
          "less_equal": lambda a, b: a <= b,
      }.items() for label, ab in pairs.items()),
    *((f"pow {label}", f, f, (positive, real(2, 3, seed=3)))
      for label, f in {"tensor": lambda a, b: a**b, "numbers": lambda a, b: a**3 + a**-0.5 + 2**b}.items()),
    ("square of negatives", lambda x: x**2 + x**3 + x**0, lambda x: x**2 + x**3 + x**0, (x23,)),
    ("neg", lambda x: -x, lambda x: -x, (x23,)),
    *((name, lambda x, name=name: getattr(x, name)(), lambda x, name=name: getattr(x, name)(), (x,))
      for name, x in {
          **dict.fromkeys(("log", "log1p", "sqrt"), positive),
          **dict.fromkeys(("exp", "expm1", "square", "abs", "sin", "cos", "tanh", "sigmoid", "relu"), wide),
      }.items()),
    *((name, getattr(F, name), getattr(T, name), (wide,))
      for name in ("relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "tanh", "sigmoid")),
    ("leaky_relu 0.2", lambda x: F.leaky_relu(x, 0.2), lambda x: T.leaky_relu(x, 0.2), (wide,)),
    ("elu 0.5", lambda x: F.elu(x, 0.5), lambda x: T.elu(x, 0.5), (wide,)),
    ("gelu tanh", lambda x: F.gelu(x, approximate="tanh"), lambda x: T.gelu(x, approximate="tanh"), (wide,)),
    ("maximum", te.maximum, torch.maximum, pairs["row"]),
    ("minimum", te.minimum, torch.minimum, pairs["outer"]),
    ("maximum at ties", te.maximum, torch.maximum, (np.ones((2, 2)), np.ones(2))),
    ("minimum at ties", te.minimum, torch.minimum, (np.ones((2, 2)), np.ones(2))),
    ("clip", lambda x: x.clip(-1, 1), lambda x: x.clip(-1, 1), (x23,)),
    ("clip at its ends", lambda x: x.clip(-1.0, 1.0), lambda x: x.clip(-1.0, 1.0), (np.array([-1.0, 0.0, 1.0, 2.0]),)),
    ("clip below", lambda x: x.clip(min=0.5), lambda x: x.clip(min=0.5), (x23,)),
    ("where", lambda c, a, b: te.where(c, a, b), lambda c, a, b: torch.where(c, a, b), (x23 > 0, *pairs["row"])),
    ("masked_fill", lambda x, m: x.masked_fill(m, -1e9), lambda x, m: x.masked_fill(m, -1e9), (x23, x23[0] > 0)),
]  # fmt: skip

kinks = np.array([-1.0, 0.0, 0.0, 1.0])
KINKS: list[Case] = [
    *((name, f, g, (kinks,)) for name, f, g in [
        ("abs", lambda x: x.abs(), lambda x: x.abs()),
        ("relu", F.relu, T.relu),
        ("leaky_relu", F.leaky_relu, T.leaky_relu),
        ("elu", F.elu, T.elu),
        ("norm of zeros", lambda x: F.norm(x * 0), lambda x: torch.linalg.vector_norm(x * 0)),
        ("square", lambda x: x**2, lambda x: x**2),
        ("first power", lambda x: x**1, lambda x: x**1),
        ("zeroth power", lambda x: x**0, lambda x: x**0),
        ("amax", lambda x: (x * x).max(), lambda x: (x * x).amax()),
        ("amin", lambda x: (x * x).min(), lambda x: (x * x).amin()),
        ("prod with zeros", lambda x: x.prod(), lambda x: x.prod()),
        ("prod with a zero", lambda x: x[1:2].prod() + x[2:].prod(), lambda x: x[1:2].prod() + x[2:].prod()),
    ]),
]  # fmt: skip


# Reductions and shapes -----------------------------------------------------------------------------------------------

cube = real(2, 3, 4)
AXES: list[Any] = [0, -1, (0, 2)]

REDUCTIONS: list[Case] = [
    *((f"{name} {axis} {keep}", lambda x, n=name, a=axis, k=keep: getattr(x, n)(axis=a, keepdims=k),
       lambda x, n=other, a=axis, k=keep: getattr(x, n)(dim=a, keepdim=k), (cube,))
      for name, other in {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin"}.items()
      for axis in AXES for keep in (False, True)),
    *((f"{name} {axis} ddof={ddof}", lambda x, n=name, a=axis, d=ddof: getattr(x, n)(axis=a, ddof=d, keepdims=True),
       lambda x, n=name, a=axis, d=ddof: getattr(x, n)(dim=a, correction=d, keepdim=True), (cube,))
      for name in ("var", "std") for axis in (None, *AXES) for ddof in (0, 1)),
    *((f"{name} of all", lambda x, n=name: getattr(x, n)(), lambda x, n=name: getattr(x, n)(), (cube,))
      for name in ("sum", "mean", "max", "min", "prod")),
    *((f"{name} {axis}", lambda x, n=name, a=axis: getattr(x, n)(a),
       lambda x, n=name, a=axis: getattr(x, n)(a), (cube,))
      for name in ("prod", "cumsum", "argmax", "argmin") for axis in (0, -1)),
    *((f"logsumexp {axis}", lambda x, a=axis: F.logsumexp(x, a), lambda x, a=axis: torch.logsumexp(x, a), (cube,))
      for axis in (0, -1, (0, 1, 2))),
    *((f"norm {order} {axis}", lambda x, o=order, a=axis: F.norm(x, o, a),
       lambda x, o=order, a=axis: torch.linalg.vector_norm(x, o, a), (cube,))
      for order in (1, 2, np.inf) for axis in (None, *AXES)),
]  # fmt: skip

repeated, mask, rows = np.array([0, 1, 0, 0]), real(2, 3, seed=5) > 0, np.array([[0, 1], [1, 1]])
SHAPES: list[Case] = [
    (name, f, g, (cube,))
    for name, f, g in [
        ("reshape", lambda x: x.reshape(4, -1), lambda x: x.reshape(4, -1)),
        ("transpose", lambda x: x.transpose(2, 0, 1), lambda x: x.permute(2, 0, 1)),
        ("swapaxes", lambda x: x.swapaxes(0, -1), lambda x: x.swapaxes(0, -1)),
        ("T", lambda x: x[0].T, lambda x: x[0].T),
        ("mT", lambda x: x.mT, lambda x: x.mT),
        ("squeeze", lambda x: x[:, :1].squeeze(1), lambda x: x[:, :1].squeeze(1)),
        ("expand_dims", lambda x: x.expand_dims(1), lambda x: x.unsqueeze(1)),
        ("broadcast_to", lambda x: x[:, :1].broadcast_to((5, 2, 3, 4)), lambda x: x[:, :1].broadcast_to((5, 2, 3, 4))),
        ("flip", lambda x: x.flip((0, 2)), lambda x: x.flip((0, 2))),
        ("roll", lambda x: x.roll((1, -2), (0, 2)), lambda x: x.roll((1, -2), (0, 2))),
        ("roll of all", lambda x: x.roll(5), lambda x: x.roll(5)),
        ("pad", lambda x: x.pad(((0, 0), (1, 2), (3, 0)), 0.5), lambda x: T.pad(x, (3, 0, 1, 2), value=0.5)),
        ("repeat", lambda x: x.repeat(3, 1), lambda x: x.repeat_interleave(3, 1)),
        ("repeat each", lambda x: x.repeat([2, 0], 0), lambda x: x.repeat_interleave(torch.tensor([2, 0]), 0)),
        ("concatenate", lambda x: te.concatenate([x, x[:, :1]], 1), lambda x: torch.cat([x, x[:, :1]], 1)),
        ("stack", lambda x: te.stack([x[0], x[1], x[0]], -1), lambda x: torch.stack([x[0], x[1], x[0]], -1)),
        ("split", lambda x: x.split([1, 3], -1)[1] * 2, lambda x: x.tensor_split([1, 3], -1)[1] * 2),
        ("split even", lambda x: x.split(2, -1)[0] * 2, lambda x: x.chunk(2, -1)[0] * 2),
        ("integer", lambda x: x[1], lambda x: x[1]),
        ("slices", lambda x: x[:, 1:, ::2], lambda x: x[:, 1:, ::2]),
        ("ellipsis", lambda x: x[..., None, -1], lambda x: x[..., None, -1]),
        ("repeated indices", lambda x: x[repeated], lambda x: x[repeated]),
        ("list", lambda x: x[[1, 1, 0]], lambda x: x[[1, 1, 0]]),
        ("two index arrays", lambda x: x[rows, rows + 1], lambda x: x[rows, rows + 1]),
        ("apart index arrays", lambda x: x[rows, :, rows + 1], lambda x: x[rows, :, rows + 1]),
        ("slice and array", lambda x: x[:, rows, 1:], lambda x: x[:, rows, 1:]),
        ("boolean", lambda x: x[mask], lambda x: x[mask]),
        ("comparison", lambda x: x[x > 0], lambda x: x[x > 0]),
        ("tril", lambda x: x.tril(1), lambda x: x.tril(1)),
        ("triu", lambda x: x.triu(-1), lambda x: x.triu(-1)),
        (
            "iteration",
            lambda x: sum(i * row for i, row in enumerate(x)),
            lambda x: sum(i * row for i, row in enumerate(x)),
        ),
    ]
]


# Products ------------------------------------------------------------------------------------------------------------

MATMUL = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2))]
MATMUL += [
    ((5, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((4, 1, 2, 3), (5, 3, 2)),
    ((0, 3), (3, 2)),
]
EINSUM: dict[str, tuple[tuple[int, ...], ...]] = {
    "ij,jk->ik": ((2, 3), (3, 4)),
    "ij,jk": ((2, 3), (3, 4)),
    "ij->": ((2, 3),),
    "ij->j": ((2, 3),),
    "ij->ji": ((2, 3),),
    "ii": ((3, 3),),
    "ii->i": ((3, 3),),
    "i,j->ij": ((2,), (3,)),
    "ij,ij->": ((2, 3), (2, 3)),
    "bhtd,bhsd->bhts": ((2, 2, 3, 4), (2, 2, 5, 4)),
    "...ij,...jk->...ik": ((4, 2, 3), (3, 5)),
    "...i,...i->...": ((2, 1, 3), (4, 3)),
    "b...,b...->b": ((2, 1, 3), (2, 4, 1)),
    "i...->...": ((2, 3, 4),),
    "...ii->...i": ((2, 3, 3),),
    "ij,jk,kl->il": ((2, 3), (3, 4), (4, 2)),
    "ij,j,i->": ((2, 3), (3,), (2,)),
    "ab,bc->ac": ((2, 1), (3, 4)),
}
PRODUCTS: list[Case] = [
    *((f"matmul {a} {b}", lambda a, b: a @ b, lambda a, b: a @ b, (real(*a), real(*b))) for a, b in MATMUL),
    *((f"einsum {s}", lambda *x, s=s: te.einsum(s, *x), lambda *x, s=s: torch.einsum(s, *x),
       tuple(real(*shape, seed=i) for i, shape in enumerate(shapes))) for s, shapes in EINSUM.items()),
    *((f"linear {shape}", F.linear, T.linear, (real(*shape), real(4, 3), real(4)))
      for shape in [(3,), (2, 3), (2, 5, 3)]),
    ("linear without bias", F.linear, T.linear, (real(2, 3), real(4, 3))),
    ("embedding", F.embedding, T.embedding, (np.array([[0, 2], [2, 2]]), real(4, 3))),
]  # fmt: skip


# Networks ------------------------------------------------------------------------------------------------------------

classes, image_classes = np.array([0, 2, -100, 1]), np.array([[0, 1], [2, -100]])
soft = F.softmax(real(4, 3, seed=7)).data
LOSSES: list[Case] = [
    *((f"cross_entropy {reduction} {smoothing} {label}",
       lambda x, t, o=options: F.cross_entropy(x, t, **o), lambda x, t, o=options: T.cross_entropy(x, t, **o), inputs)
      for reduction in ("mean", "sum", "none") for smoothing in (0.0, 0.1)
      for options in [{"reduction": reduction, "label_smoothing": smoothing}]
      for label, inputs in {
          "classes": (real(4, 3), classes),
          "one": (real(3), np.array(2)),
          "image": (real(2, 3, 2), image_classes),
          "probabilities": (real(4, 3), soft),
          "probabilities of one": (real(3), soft[0]),
          "probabilities of an image": (real(4, 3, 2), np.stack([soft, soft[::-1]], -1)),
      }.items()),
    ("ignored", lambda x, t: F.cross_entropy(x, t, ignore_index=1), lambda x, t: T.cross_entropy(x, t, ignore_index=1),
     (real(4, 3), np.array([0, 1, 2, 1]))),
    ("nothing left", F.cross_entropy, T.cross_entropy, (real(2, 3), np.array([-100, -100]))),
    ("last axis", lambda x, t: F.cross_entropy(x, t, axis=-1), lambda x, t: T.cross_entropy(x.mT, t),
     (real(2, 2, 3), image_classes)),
    *((f"{name} {reduction}", lambda x, t, n=name, r=reduction: getattr(F, n)(x, t, reduction=r),
       lambda x, t, n=name, r=reduction: getattr(T, n)(x, t, reduction=r), (real(4, 3), soft))
      for name in ("mse_loss", "binary_cross_entropy_with_logits") for reduction in ("mean", "sum", "none")),
]  # fmt: skip
may = np.array([[True, False, True, True], [True, True, False, True], [False, True, True, False]])
q, k, v = real(2, 2, 3, 4), real(2, 2, 4, 4, seed=1), real(2, 2, 4, 5, seed=2)


def ours_attended(q: Any, k: Any, v: Any, mask: Any = None, is_causal: bool = False) -> Any:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)


def theirs_attended(q: Any, k: Any, v: Any, mask: Any = None, is_causal: bool = False) -> Any:
    return T.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)


NETWORKS: list[Case] = [
    *((f"{name} {axis}", lambda x, n=name, a=axis: getattr(F, n)(x, axis=a),
       lambda x, n=name, a=axis: getattr(T, n)(x, dim=a), (cube,))
      for name in ("softmax", "log_softmax") for axis in (0, 1, -1)),
    ("layer_norm", F.layer_norm, lambda x, w, b: T.layer_norm(x, (4,), w, b), (cube, real(4), real(4, seed=1))),
    ("layer_norm bare", lambda x: F.layer_norm(x, eps=0.1), lambda x: T.layer_norm(x, (4,), eps=0.1), (cube,)),
    ("attention", ours_attended, theirs_attended, (q, k, v)),
    ("attention causal", lambda *x: ours_attended(*x, is_causal=True),
     lambda *x: theirs_attended(*x, is_causal=True), (q, k, v)),
    ("attention boolean", ours_attended, theirs_attended, (q, k, v, may)),
    ("attention added", ours_attended, theirs_attended, (q, k, v, real(3, 4))),
    ("attention of matrices", ours_attended, theirs_attended, (q[0, 0], k[0, 0], v[0, 0], may)),
    ("attention to nothing", ours_attended, theirs_attended, (q, k, v, may & (np.arange(3) != 1)[:, None])),
]  # fmt: skip


@dtypes
@parity(ELEMENTWISE)
def test_elementwise(case: Case, dtype: Any) -> None:
    check(case, dtype)


@dtypes
@parity(KINKS)
def test_kinks(case: Case, dtype: Any) -> None:
    check(case, dtype)


@dtypes
@parity(REDUCTIONS)
def test_reductions(case: Case, dtype: Any) -> None:
    check(case, dtype)


@dtypes
@parity(SHAPES)
def test_shapes(case: Case, dtype: Any) -> None:
    check(case, dtype)


@dtypes
@parity(PRODUCTS)
def test_products(case: Case, dtype: Any) -> None:
    check(case, dtype)


@dtypes
@parity(LOSSES)
def test_losses(case: Case, dtype: Any) -> None:
    check(case, dtype)


@dtypes
@parity(NETWORKS)
def test_networks(case: Case, dtype: Any) -> None:
    check(case, dtype)


@pytest.mark.parametrize("size", [1e4, -1e4, 80.0, -80.0, 0.0, 1e-8])
@pytest.mark.parametrize("name", ["softplus", "sigmoid", "silu", "gelu", "elu", "tanh", "softmax", "log_softmax"])
def test_far_out(name: str, size: float) -> None:
    def values(f: Any, **axis: int) -> Function:
        return lambda x: f(x, **axis)

    ours, theirs = values(getattr(F, name)), values(getattr(T, name), **({"dim": -1} if "softmax" in name else {}))
    check((name, ours, theirs, (np.array([size, 1.0, -size]),)), np.float32)


def test_dropout_keeps_as_many_and_scales_as_much() -> None:
    te.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = F.dropout(Tensor(np.ones(100_000)), 0.3).data, T.dropout(torch.ones(100_000), 0.3).numpy()
    np.testing.assert_allclose(np.unique(ours), np.unique(theirs), rtol=1e-6)
    assert abs(ours.mean() - theirs.mean()) < 0.01
