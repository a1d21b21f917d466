"""What a picture is made of. Plain data: a trace holds every card and edge of a graph, a view what is drawn of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    call: Call | None = None  # the module call in which the op ran
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

    @property
    def op_name(self) -> str:
        """What the op is called in the registry; "" of a leaf."""
        return self.tensor.op.name if self.tensor.op is not None else ""


class Definition(Scope):
    """The scope of what stands in the place of a fused op that was opened. It is no module and has no path."""

    __slots__ = ()


@dataclass(eq=False, repr=False)
class Call:
    """One call of a module, with what ran in it, in order. The outermost one is no module: it holds everything."""

    scope: Scope | None
    caller: Call | None
    body: list[Card | Call] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)  # under which the user may know it
    number: int = 0  # in the order in which they began
    depth: int = 0  # how many calls it stands in

    @property
    def label(self) -> str:
        """How the module describes itself."""
        return self.scope.label if self.scope is not None else ""

    def within(self) -> Iterator[Call]:
        """This call and all that were made in it, each before those that it made."""
        waiting = [self]
        while waiting:
            call = waiting.pop()
            yield call
            waiting.extend(part for part in reversed(call.body) if isinstance(part, Call))

    def ops(self) -> Iterator[Card]:
        """Every op that ran in it, in order."""
        waiting: list[Card | Call] = [self]
        while waiting:
            part = waiting.pop()
            if isinstance(part, Call):
                waiting.extend(reversed(part.body))
            else:
                yield part


@dataclass(frozen=True, eq=False)
class Flag:
    """Something conspicuous, in words."""

    card: Card | None  # where; None: in the graph as a whole
    words: str


@dataclass(eq=False, repr=False)
class Trace:
    """Everything that is known of a graph: cards in the order in which they were made, the last one being the root."""

    cards: list[Card]
    calls: Call
    title: str
    status: str = ""  # "" when gradients are shown, else why they are not
    stale: bool = False  # whether values were changed in place, so that nothing computed from them now is true
    seed: str = ""  # ∂y/∂y = 1
    derivation: Derivation | None = None  # of the highlighted tensor's gradient
    model: Scope | None = None  # the module that everything in modules belongs to, by the name that the user gave it
    flags: list[Flag] = field(default_factory=list)
    opened: dict[str, list[Scope]] = field(default_factory=dict)  # by name, the fused ops that the user had opened

    @property
    def root(self) -> Card:
        """The card that the backward pass starts from."""
        return self.cards[-1]

    @property
    def edges(self) -> Iterable[Edge]:
        """All edges, op by op."""
        return (edge for card in self.cards for edge in card.inputs)

    def path_of(self, call: Call) -> str:
        """The path of a module, beginning with the name that the user gave the model."""
        if call.scope is None or isinstance(call.scope, Definition):
            return ""
        inner = call.scope.path
        return ".".join(part for part in (self.model.path if self.model else "", inner) if part)


# What is drawn ----------------------------------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class Fold:
    """One card for several: a module; equal modules one after the other (a stack); or a run of whatever followed."""

    id: str  # m3: module call 3; m3x12: a stack of 12; run-op5: a run that begins with op5
    parts: list[list[Card | Call]]  # one part, or for a stack one for each repetition
    home: Call  # the open module in which it stands
    cards: list[Card] = field(default_factory=list)  # the ops
    leaves: list[Card] = field(default_factory=list)  # parameters, and constants made on the way

    @property
    def kind(self) -> str:
        """Module, stack or run."""
        return {"m": "stack" if len(self.parts) > 1 else "module"}.get(self.id[0], "run")

    @property
    def parameters(self) -> list[Card]:
        """The parameters folded away with it."""
        return [leaf for leaf in self.leaves if leaf.kind == "parameter"]

    @property
    def outputs(self) -> list[Card]:
        """The ops whose values somebody else uses; of the last one, which nobody uses, the root."""
        inside = set(self.cards)
        return [c for c in self.cards if not c.uses or any(edge.target not in inside for edge in c.uses)]


@dataclass(eq=False, repr=False)
class Link:
    """A line of a picture: one use of a value, or all the uses that are folded into one card."""

    id: str
    source: Card | Fold
    target: Card | Fold
    edges: list[Edge]

    @property
    def needs_grad(self) -> bool:
        """Whether a gradient comes back."""
        return any(edge.needs_grad for edge in self.edges)

    @property
    def on_path(self) -> bool:
        """Whether it leads to the highlighted tensor."""
        return any(edge.on_path for edge in self.edges)

    @property
    def contribution(self) -> Any:
        """What comes back along it: the sum over its uses; None where these belong to different values."""
        passed = [edge.contribution for edge in self.edges if edge.contribution is not None]
        one_source = len({edge.source for edge in self.edges}) == 1
        return sum(passed[1:], passed[0]) if passed and one_source else None


@dataclass(eq=False, repr=False)
class View:
    """What is drawn of a trace: cards and folds, and the lines between them, in the order in which they were made."""

    trace: Trace
    nodes: list[Card | Fold]
    links: list[Link]
    shown: dict[Card, Card | Fold]  # which node shows a card
    inputs: dict[str, list[Link]]  # the links of a node, by its id
    uses: dict[str, list[Link]]
    note: str = ""  # what is folded

    @property
    def folds(self) -> list[Fold]:
        """The folds."""
        return [node for node in self.nodes if isinstance(node, Fold)]

    @property
    def read(self) -> list[Card]:
        """The cards whose rules are read: those drawn, and those of the derivation."""
        paths = self.trace.derivation.paths if self.trace.derivation is not None else []
        derived = {factor.edge.target for path in paths for factor in path}
        return [card for card in self.trace.cards if card is self.shown[card] or card in derived]

    def name(self, node: Card | Fold) -> str:
        """What other cards call a node."""
        if isinstance(node, Card):
            return node.symbol
        calls = [unit for part in node.parts for unit in part if isinstance(unit, Call)]
        if node.kind == "run":
            return f"… {len(node.cards)} ops"
        first, last = (self.trace.path_of(call) for call in (calls[0], calls[-1]))
        first = first or calls[0].label
        return f"▸ {first}" if node.kind == "module" else f"▸ {first} … {last.rpartition('.')[2]}"

    def home(self, node: Card | Fold) -> Call:
        """The module in which a node is drawn. A parameter stands in the one that uses it, other leaves outside."""
        if isinstance(node, Fold):
            return node.home
        if node.call is not None:
            return node.call
        homes = {self.home(link.target) for link in self.uses[node.id]} if node.kind == "parameter" else set()
        return homes.pop() if len(homes) == 1 else self.trace.calls

    def flags(self, node: Card | Fold) -> list[Flag]:
        """The flags of what a node shows."""
        return [flag for flag in self.trace.flags if flag.card is not None and self.shown[flag.card] is node]

    def steps(self) -> dict[int, Card | Fold]:
        """For each backward step, the node that shows it."""
        return {card.step: node for card, node in self.shown.items() if card.step is not None}
