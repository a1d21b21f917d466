"""What a picture is made of: cards, the edges between them, and the trace that holds both. Plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_edu.autograd import Scope
from tinygrad_edu.tensor import Tensor

if TYPE_CHECKING:
    from viz.derivation import Derivation


@dataclass(eq=False, repr=False)
class Edge:
    """One use of a value by an op: the value goes down along it, a gradient comes back up."""

    id: str  # op3-0: input 0 of op3
    source: Card
    target: Card
    index: int
    needs_grad: bool
    rule: str = ""  # ∂p/∂w = x, or ∂L/∂W = xᵀ · G
    note: str = ""  # what happens to shapes; says why where no gradient passes
    local: Any = None  # ∂target/∂source, where both are scalars
    gate: Any = None  # where the rule is G ⊙ [a > 0]: the elements it lets pass, of a tensor
    upstream: Any = None  # dL/d target
    contribution: Any = None  # its share of dL/d source
    on_path: bool = False  # on the path that brings the highlighted tensor most of its gradient

    @property
    def scalar(self) -> bool:
        """Whether the local derivative is a number."""
        return np.ndim(self.source.value) == 0 == np.ndim(self.target.value)


@dataclass(eq=False, repr=False)
class Card:
    """A tensor, together with the op that made it (a leaf has none)."""

    id: str  # t0, op1, ...: in the order in which they were made
    tensor: Tensor
    value: Any
    name: str
    symbol: str  # the name within formulas
    kind: str  # op, parameter, variable or data
    scope: Scope | None
    formula: str = ""  # p = w · x
    op: str = ""  # multiply, and the options it was called with
    step: int | None = None  # the number of its backward step
    gradient: Any = None  # dL/d this
    no_gradient: str = ""  # why there is none
    depth: int = 0  # how many ops stand above it at most
    kept: list[str] = field(default_factory=list)  # what its rules read, with shapes
    note: str = ""
    inputs: list[Edge] = field(default_factory=list)
    uses: list[Edge] = field(default_factory=list)  # in the order in which their gradients are added up


@dataclass(eq=False, repr=False)
class Trace:
    """What is drawn: cards in the order in which they were made, the last one being the root."""

    cards: list[Card]
    title: str
    status: str = ""  # "" when gradients are shown, else why they are not
    stale: bool = False  # whether values were changed in place, so that nothing computed from them now is true
    seed: str = ""  # ∂y/∂y = 1
    derivation: Derivation | None = None  # of the highlighted tensor's gradient
    model: Scope | None = None  # the module that everything in modules belongs to, by the name that the user gave it

    @property
    def root(self) -> Card:
        """The card that the backward pass starts from."""
        return self.cards[-1]

    @property
    def edges(self) -> Iterable[Edge]:
        """All edges, op by op."""
        return (edge for card in self.cards for edge in card.inputs)
