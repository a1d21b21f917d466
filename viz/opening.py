"""Opening fused ops: a card of softmax, attention, ... becomes the cards of its definition in simpler ops.

The definition is run on the op's own inputs, and the gradient that arrived at the op is swept back through it: so every
number is the one that these simpler ops have.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import takewhile

import numpy as np

import tinygrad_edu as te
from tinygrad_edu.autograd import Scope, changes
from tinygrad_edu.tensor import Tensor
from viz import text
from viz.formulas import write_forward
from viz.modules import call_tree
from viz.names import kind_of
from viz.parts import Card, Definition, Trace
from viz.trace import ancestors, edges_into, why_no_gradient

_CHANGED = "not opened: an input was changed in place after the op ran"


def open_fused(trace: Trace, expand: Collection[str] = (), all_of_them: bool = False) -> None:
    """Open the fused cards that are named, by the name of their op or of what it made; or all, and all inside, too.

    A card whose inputs were changed in place since stays closed, and its note says why.
    """
    fused = [card for card in trace.cards if _is_fused(card)]
    named = {card: name for name in expand for card in fused if name in (card.name, card.op_name)}
    trace.opened = {name: [] for name in named.values()}
    waiting, names = fused if all_of_them else list(named), _Names(trace)
    if not waiting:
        return
    with np.errstate(all="ignore"):
        while waiting:
            card = waiting.pop()
            if _changed(card):
                card.note = _CHANGED
                continue
            made, scope = _open(card, trace, names)
            if card in named:
                trace.opened[named[card]].append(scope)
            waiting += [card for card in made if all_of_them and _is_fused(card)]
    trace.cards = [card for card in trace.cards if card.kind == "op" or card.uses or card is trace.root]
    trace.calls = call_tree(trace.cards)
    _renumber(trace)


def _changed(card: Card) -> bool:
    """Whether an input is no longer what the op computed with, so that the definition would give other numbers."""
    return any(changes.since(edge.source.tensor._data, card.tensor.time) for edge in card.inputs)


def _is_fused(card: Card) -> bool:
    return card.tensor.op is not None and card.tensor.op.compose is not None


class _Names:
    """Short names for what definitions compute: u₁, u₂, ..., but none that is taken."""

    def __init__(self, trace: Trace) -> None:
        self.taken, self.count = {card.symbol for card in trace.cards}, 0

    def next(self) -> str:
        """A name that nothing has yet."""
        while True:
            self.count += 1
            if (name := text.name(f"u{self.count}")) not in self.taken:
                return name


def _open(card: Card, trace: Trace, names: _Names) -> tuple[list[Card], Scope]:
    """Put the cards of its definition in the place of a card, which becomes the last of them.

    Returns them, and the scope in which they are.
    """
    fused = card.tensor
    assert fused.op is not None
    assert fused.op.compose is not None
    with te.enable_grad():
        result = fused.op.compose(*fused.inputs, **fused.options)
    scope = Definition("", f"{fused.op.name}, opened", fused.scope)
    if not isinstance(result, Tensor) or any(result is x for x in fused.inputs) or result.op is None:
        return [], scope
    made = ancestors(result, given={x for x in fused.inputs if isinstance(x, Tensor)})
    cards = {fused.inputs[edge.index]: edge.source for edge in card.inputs}  # which may have been opened themselves
    for number, tensor in enumerate(made):
        tensor.scope = scope if tensor.op is not None else None
        if tensor is not result:
            name = names.next()
            cards[tensor] = Card(f"{card.id}_{number}", tensor, tensor._data, name, name, kind_of(tensor))
    card.tensor, cards[result] = result, card
    new = [cards[tensor] for tensor in made]
    _reconnect(card, new, cards)
    _sweep(card, new)
    place = trace.cards.index(card)
    trace.cards[place : place + 1] = new
    return new, scope


def _reconnect(card: Card, new: list[Card], cards: dict[Tensor, Card]) -> None:
    """Edges between the new cards; where the op used a value, the new cards do."""
    places = {edge.source: edge.source.uses.index(edge) for edge in reversed(card.inputs)}
    for source in places:
        source.uses = [edge for edge in source.uses if edge.target is not card]
    for made in new:
        made.inputs = edges_into(made, cards)
        if made.tensor.op is not None:
            write_forward(made, cards)
    for made in reversed(new):
        for edge in made.inputs:
            if edge.source in places:
                edge.source.uses.insert(places[edge.source], edge)
                places[edge.source] += 1
            else:
                edge.source.uses.append(edge)


def _sweep(card: Card, new: list[Card]) -> None:
    """The gradients within the definition, from the one that arrived at the op."""
    cards = {made.tensor: made for made in new}
    edges = {(edge.target, edge.index): edge for made in new for edge in made.inputs if edge.needs_grad}
    if card.gradient is not None:
        wanted = dict.fromkeys(edge.target.tensor.inputs[edge.index] for edge in edges.values())
        steps = te.sweep(card.tensor, card.gradient, inputs=list(wanted))
        for step in takewhile(lambda step: step.output in cards, steps):
            made = cards[step.output]
            made.gradient, made.step = step.upstream, 0
            edge = edges[made, step.index]
            edge.upstream, edge.contribution = step.upstream, step.contribution
    for made in new:
        if made.gradient is None:
            made.no_gradient = why_no_gradient(made, "") if card.gradient is not None else card.no_gradient
    card.step = 0 if card.gradient is not None else None


def _renumber(trace: Trace) -> None:
    """Depths and backward steps, now that there are more cards."""
    for card in trace.cards:
        card.depth = 1 + max((edge.source.depth for edge in card.inputs), default=-1)
    stepping = [card for card in reversed(trace.cards) if card.step is not None]
    for number, card in enumerate(stepping, 1):
        card.step = number
