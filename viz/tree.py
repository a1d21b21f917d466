"""`viz.tree`: the graph as plain text, for where nothing can be drawn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_edu.tensor import Tensor
from viz import text
from viz.parts import Card, Edge
from viz.trace import trace

_DEEPEST = 8  # levels of indentation: what lies deeper starts again at the left, below


@np.errstate(all="ignore")  # whatever the user's own pass already warned about
def tree(root: Tensor, *, names: Mapping[str, Any] | None = None) -> str:
    """What `root` was computed from: an op or leaf a line with its value and gradient, under each op its inputs.

    Each input says how the gradient reached it. A tensor that is used several times is followed once. Needs neither
    Graphviz nor its Python package. Raises TypeError if root is no Tensor.

    >>> from tinygrad_edu import Tensor
    >>> w, x = Tensor(3.0, requires_grad=True, name="w"), Tensor(-2.0, name="x")
    >>> L = w * x
    >>> L.backward()
    >>> print(tree(L))
    L = w · x   −6   gradient 1
    ├─ w   3   gradient −2   ∂L/∂w = x: 1 × (−2) = −2
    └─ x   −2   x needs no gradient
    """
    traced = trace(root, names)
    lines = [traced.status] if traced.status else []
    followed: set[Card] = set()
    waiting = deque([traced.root])
    while waiting:
        card = waiting.popleft()
        if card not in followed:
            lines += _branches(card, followed, waiting)
    return "\n".join(map(text.printable, lines))


def _branches(top: Card, followed: set[Card], waiting: deque[Card]) -> Iterator[str]:
    """The lines of a card and what it was made from, as deep as lines can be indented; the rest goes to `waiting`."""
    stack: list[tuple[Card, str, str, str]] = [(top, "", "", "")]
    while stack:
        card, before, under, passed = stack.pop()
        again, deep = card in followed and bool(card.inputs), len(under) == 3 * _DEEPEST and bool(card.inputs)
        where = "   (see above)" if again else "   (continued below)" if deep else ""
        yield f"{before}{_line(card)}{passed}{where}"
        if deep and not again:
            waiting.append(card)
        if again or deep:
            continue
        followed.add(card)
        for edge in reversed(card.inputs):
            last = edge is card.inputs[-1]
            stack.append(
                (edge.source, f"{under}{'└─ ' if last else '├─ '}", under + ("   " if last else "│  "), _passed(edge))
            )


def _line(card: Card) -> str:
    """y = w · x, its value and its gradient."""
    gradient = f"   gradient {_shown(card.gradient)}" if card.gradient is not None else ""
    return f"{card.formula or card.name}   {_shown(card.value)}{gradient}"


def _passed(edge: Edge) -> str:
    """How the gradient came along an edge: the rule and, between scalars, its numbers."""
    if not edge.rule:
        return f"   {edge.note}"
    if not edge.scalar or edge.contribution is None or edge.local is None:
        return f"   {edge.rule}"
    product = f"{text.factor(edge.upstream)} × {text.factor(edge.local)} = {text.number(edge.contribution)}"
    return f"   {edge.rule}: {product}"


def _shown(array: Any) -> str:
    """The numbers of a small array; of a larger one the shape, and for real numbers the norm."""
    if np.size(array) <= text.FEW:
        return text.literal(array)
    norm = f" {text.magnitude(array)}" if np.asarray(array).dtype.kind == "f" else ""
    return f"{text.size(array)}{norm}"
