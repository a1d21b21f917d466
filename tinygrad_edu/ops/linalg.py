"""Ops that multiply and sum: the products of vectors and matrices, einsum, and the norm.

One op for each meaning of `@`, so that each rule is one line and reads as in a textbook.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_edu.ops.elementwise import divide_or_zero
from tinygrad_edu.ops.movement import expand
from tinygrad_edu.ops.op import Op, shapes


def _matmul_hint(a: Any, b: Any) -> str:
    if a is None or b is None:
        return "expected two tensors, got None"
    if not (np.ndim(a) and np.ndim(b)):
        return "a number cannot be multiplied with @: write *"
    inner = a.shape[-1], b.shape[-2] if b.ndim > 1 else b.shape[0]
    if inner[0] == inner[1]:
        return f"the leading axes of {shapes(a, b)} do not broadcast"
    which = "second last" if b.ndim > 1 else "length"
    hint = (
        f"{a.shape} @ {b.shape} does not fit: the last axis of the left ({inner[0]}) must equal the {which} of the "
        f"right ({inner[1]})."
    )
    if a.ndim > 1 and a.shape[-2] == inner[1]:
        return hint + " Did you mean left.mT @ right?"
    if b.ndim > 1 and b.shape[-1] == inner[0]:
        return hint + " Did you mean left @ right.mT?"
    return hint


# (..., m, k) @ (..., k, n) -> (..., m, n)
matmul: Op = Op(
    "matmul",
    np.matmul,
    vjp=(lambda g, y, a, b: matmul(g, b.mT), lambda g, y, a, b: matmul(a.mT, g)),
    formula=("G · bᵀ", "aᵀ · G"),
    notation="{} · {}",
    hint=_matmul_hint,
)
# (k,) @ (k,) -> ()
dot: Op = Op(
    "dot",
    np.matmul,
    vjp=(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a),
    formula=("G ⊙ b", "G ⊙ a"),
    notation="{} · {}",
    hint=_matmul_hint,
)
# (..., m, k) @ (k,) -> (..., m)
matvec: Op = Op(
    "matvec",
    np.matmul,
    vjp=(lambda g, y, a, b: outer(g, b), lambda g, y, a, b: vecmat(g, a)),
    formula=("G ⊗ b", "G · a"),
    notation="{} · {}",
    hint=_matmul_hint,
)
# (..., k) @ (..., k, n) -> (..., n), a row vector for each matrix
vecmat: Op = Op(
    "vecmat",
    lambda a, b: np.matmul(np.expand_dims(a, -2), b)[..., 0, :],
    vjp=(
        lambda g, y, a, b: vecmat(g, b.mT),
        lambda g, y, a, b: outer(a, g),
    ),
    formula=("G · bᵀ", "a ⊗ G"),
    notation="{} · {}",
    hint=_matmul_hint,
)
# (..., m) ⊗ (..., n) -> (..., m, n)
outer: Op = Op(
    "outer",
    lambda a, b: np.expand_dims(a, -1) * np.expand_dims(b, -2),
    vjp=(lambda g, y, a, b: vecmat(b, g.mT), lambda g, y, a, b: vecmat(a, g)),
    formula=("b · Gᵀ", "a · G"),
    notation="{} ⊗ {}",
)


def product_op(a: Any, b: Any) -> Op:
    """Which op of this page a @ b is, with NumPy's meaning for every number of axes."""
    vectors = np.ndim(a) == 1, np.ndim(b) == 1
    return {(True, True): dot, (False, True): matvec, (True, False): vecmat}.get(vectors, matmul)


def product(a: Any, b: Any) -> Any:
    """a @ b with NumPy's meaning for every number of axes."""
    return product_op(a, b)(a, b)


# einsum --------------------------------------------------------------------------------------------------------------


def _einsum_rule(g: Any, y: Any, *inputs: Any, subscripts: str, index: int) -> Any:
    """The gradient of one operand is again an einsum: of G and the other operands, into this operand's axes.

    An axis that only this operand has (at its full length) was summed on its own, so the gradient is copied along it:
    einsum with ones.
    An axis that this operand names twice was read on its diagonal only: einsum with the identity matrix.
    """
    left, result = subscripts.split("->")
    terms = left.split(",")
    others = [(term, x) for i, (term, x) in enumerate(zip(terms, inputs, strict=True)) if i != index]
    known: dict[str, int] = {}
    for term, x in [(result, g), *others]:
        known |= {letter: max(n, known.get(letter, n)) for letter, n in zip(term, np.shape(x), strict=True)}
    unused = iter(sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") - set(subscripts)))
    wanted = ""
    for letter, size in zip(terms[index], inputs[index].shape, strict=True):
        if letter in wanted:
            twin = next(unused)
            others.append((letter + twin, np.eye(size, dtype=g.dtype)))
            letter = twin
        elif known.get(letter, -1) < size:
            others.append((letter, np.ones(size, dtype=g.dtype)))
        wanted += letter
    signature = ",".join([result] + [term for term, _ in others]) + "->" + wanted
    return einsum(g, *(x for _, x in others), subscripts=signature)


def _einsum_hint(*inputs: Any, subscripts: str) -> str:
    known: dict[str, int] = {}
    terms = subscripts.split("->")[0].split(",")
    if len(terms) != len(inputs):
        return f'"{subscripts}" names {len(terms)} operands, got {len(inputs)}'
    for term, x in zip(terms, inputs, strict=True):
        if len(term) != np.ndim(x):
            return f'"{term}" names {len(term)} axes, but its operand has shape {np.shape(x)}'
        for letter, size in zip(term, np.shape(x), strict=True):
            if known.setdefault(letter, size) != size and 1 not in (known[letter], size):
                return f'axis "{letter}" of "{subscripts}" is {known[letter]} in one place and {size} in another'
    return f'"{subscripts}" does not describe shapes {", ".join(str(np.shape(x)) for x in inputs)}'


einsum: Op = Op(
    "einsum",
    lambda *inputs, subscripts: np.einsum(subscripts, *inputs, optimize=len(inputs) > 2),
    vjp=_einsum_rule,
    formula=("einsum(G, b)", "einsum(G, a)"),
    hint=_einsum_hint,
)


def explicit_subscripts(subscripts: str, ndims: list[int]) -> str:
    """Spell out what einsum leaves implicit: the result's axes, and a letter for each axis that `...` stands for.

    >>> explicit_subscripts("...ij,jk", [3, 2])
    'Zij,jk->Zik'
    """
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f'einsum: "{subscripts}" names {len(terms)} operands, got {len(ndims)}')
    letters = [c for c in left if c.isalpha()]
    unused = sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") - set(letters))[::-1]
    unused = sorted(c for c in unused if c.isupper())[::-1] + [c for c in unused if c.islower()]
    lengths = [
        ndim - len(term.replace("...", "")) if "..." in term else 0 for term, ndim in zip(terms, ndims, strict=True)
    ]
    if min(lengths, default=0) < 0:
        raise ValueError(f'einsum: "{subscripts}" has more subscripts than an operand has axes ({ndims})')
    dots = "".join(unused[: max(lengths, default=0)])[::-1]
    if not arrow:
        result = "..." * ("..." in left) + "".join(sorted({c for c in letters if letters.count(c) == 1}))
    terms = [term.replace("...", dots[len(dots) - n :]) for term, n in zip(terms, lengths, strict=True)]
    return ",".join(terms) + "->" + result.replace("...", dots)


# norm ----------------------------------------------------------------------------------------------------------------

norm: Op = Op(  # the Euclidean norm √Σx²; at 0 the gradient is taken as 0
    "norm",
    lambda x, axis, keepdims: np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims)),
    vjp=(
        lambda g, y, x, axis, keepdims: divide_or_zero(
            expand(g, shape=x.shape, axis=axis, keepdims=keepdims) * x,
            expand(y, shape=x.shape, axis=axis, keepdims=keepdims),
        ),
    ),
    formula=("expand(G) ⊙ x / expand(y)",),
    notation="‖{}‖",
)
