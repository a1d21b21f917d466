"""From a recorded tensor to a trace: plain cards and edges, with numbers and texts. Knows the engine, no graphics.

Every gradient comes from `te.sweep`, the loop that `backward()` itself uses; every formula is printed by the op's rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np

import tinygrad_edu as te
from tinygrad_edu.autograd import changes
from tinygrad_edu.errors import GraphError
from tinygrad_edu.tensor import Tensor
from viz import text
from viz.derivation import derive
from viz.formulas import expression, write_forward, write_rules
from viz.modules import call_tree, find_model
from viz.names import choose_names, chosen, kind_of
from viz.parts import Card, Edge, Trace

_NOT_RUN = "gradients: not run (call backward() first)"
_STALE = "gradients can no longer be shown: a value was changed in place after the forward pass"


def trace(root: Tensor, names: Mapping[str, Any] | None = None, highlight: Tensor | None = None) -> Trace:
    """Everything a picture of `root` can show. Time and size are linear in the graph.

    Raises TypeError if root is no Tensor, ValueError if no gradient flows to `highlight`.
    """
    result = gather(root, names, highlight)
    write(result.cards, result)
    return result


def gather(
    root: Tensor,
    names: Mapping[str, Any] | None = None,
    highlight: Tensor | None = None,
    opening: Callable[[Trace], None] | None = None,
) -> Trace:
    """As `trace`, but without the texts that `write` adds. opening: changes the trace before paths are looked for."""
    if not isinstance(root, Tensor):
        raise TypeError(f"viz: expected a Tensor, such as the loss, got {type(root).__name__}")
    tensors, names = ancestors(root), chosen(names or {})
    cards = _cards(tensors, root, names)
    _connect(cards)
    listed = list(cards.values())
    result = Trace(listed, call_tree(listed), title=expression(cards, root))
    result.model = find_model(result.calls, names)
    with np.errstate(all="ignore"):  # whatever the user's own pass already warned about
        result.status = _fill_gradients(result, cards)
    if opening is not None:
        opening(result)
    if highlight is not None:
        _highlight(result, cards, highlight)
    return result


def write(cards: Iterable[Card], result: Trace) -> None:
    """Print the rules of these cards and look for what must be said about them: the costly part of a trace."""
    with np.errstate(all="ignore"):
        for card in cards:
            write_rules(card, result)
            card.note = card.note or _changed(card) or _accumulated(card)


def ancestors(root: Tensor, given: Collection[Tensor] = ()) -> list[Tensor]:
    """What root was computed from, and root itself, in the order in which it was made; nothing given or behind that."""
    found, waiting = {root}, [root]
    while waiting:
        for source in waiting.pop().inputs:
            if isinstance(source, Tensor) and source not in found and source not in given:
                found.add(source)
                waiting.append(source)
    return sorted(found, key=lambda tensor: (tensor.time, tensor is root))


def _cards(tensors: list[Tensor], root: Tensor, names: Mapping[str, Any]) -> dict[Tensor, Card]:
    cards: dict[Tensor, Card] = {}
    given = choose_names(tensors, root, names)
    for position, tensor in enumerate(tensors):
        kind = kind_of(tensor)
        identity = f"op{position}" if kind == "op" else f"t{position}"
        name = given[tensor]
        last = name.rpartition(".")[2]  # within formulas, weight is enough for layers.0.weight
        symbol = last if last.isidentifier() else name
        cards[tensor] = Card(identity, tensor, tensor._data, name, symbol, kind)
    _tell_apart(cards)
    return cards


def _tell_apart(cards: dict[Tensor, Card]) -> None:
    """In a formula that has two symbols alike, such as those of a.weight and b.weight, the whole names stand."""
    for card in cards.values():
        around = [card, *dict.fromkeys(cards[x] for x in card.tensor.inputs if isinstance(x, Tensor))]
        if len({each.symbol for each in around}) < len(around):
            used = Counter(each.symbol for each in around)
            for each in around:
                each.symbol = each.name if used[each.symbol] > 1 else each.symbol


def _connect(cards: dict[Tensor, Card]) -> None:
    """Add the edges, and write each op's formula."""
    for card in cards.values():
        if card.tensor.op is not None:
            card.inputs = edges_into(card, cards)
            card.depth = 1 + max(edge.source.depth for edge in card.inputs)
            write_forward(card, cards)
    for card in reversed(cards.values()):
        for edge in card.inputs:
            edge.source.uses.append(edge)


def edges_into(card: Card, cards: Mapping[Tensor, Card]) -> list[Edge]:
    """An edge for each tensor that an op took; a leaf has none."""
    op = card.tensor.op
    if op is None:
        return []
    return [
        Edge(f"{card.id}-{index}", cards[x], card, index, x.requires_grad and op.rule(index) is not None)
        for index, x in enumerate(card.tensor.inputs)
        if isinstance(x, Tensor)
    ]


# Gradients --------------------------------------------------------------------------------------------------


def _fill_gradients(result: Trace, cards: dict[Tensor, Card]) -> str:
    """Run the sweep and note every gradient on its card and edge. Returns why none can be shown, or ""."""
    root = result.root.tensor
    seed = root._grad if root.op is not None else None
    status = _why_no_sweep(result, seed)
    if not status:
        try:
            _sweep(result, cards, seed)
        except GraphError as error:
            culprit = str(error).partition(":")[0]
            status = f"{_STALE} ({culprit}): draw before the optimizer’s step"
            result.stale = True
            _forget_gradients(result)
    for card in result.cards:
        if card.gradient is None:
            card.no_gradient = why_no_gradient(card, status)
    return status


def _why_no_sweep(result: Trace, seed: Any) -> str:
    root = result.root.tensor
    if not root.requires_grad:
        return "nothing was recorded: no tensor in this picture requires a gradient"
    if all(card.tensor._grad is None for card in result.cards if card.kind in ("parameter", "variable")):
        return _NOT_RUN
    if root.size != 1 and seed is None and root.op is not None:
        what = f"{result.root.symbol} has shape {root.shape}, and the gradient given to backward() was not kept"
        return f"gradients are not shown: {what} (call retain_grad() on it before)"
    return ""


def _sweep(result: Trace, cards: dict[Tensor, Card], seed: Any) -> None:
    """One pass over the chain rule: contributions go to edges, their totals to cards, first come first numbered."""
    root = result.root.tensor
    if root.op is None:
        result.root.gradient = root._grad._data if root._grad is not None else None
        return
    totals: dict[Any, Any] = {}
    edges = {(edge.target.id, edge.index): edge for edge in result.edges}
    steps = 0
    for step in te.sweep(root, seed, gradients=totals):
        card = cards[step.output]
        if card.step is None:
            steps += 1
            card.step, card.gradient = steps, step.upstream
        edge = edges[card.id, step.index]
        edge.upstream, edge.contribution = step.upstream, step.contribution
    for tensor, total in totals.items():
        cards[tensor].gradient = total
    loss = result.root.symbol
    one = result.root.gradient.size == 1 and np.all(result.root.gradient == 1)
    result.seed = f"∂{loss}/∂{loss} = 1" if one else f"the gradient given to backward() for {loss}"


def _forget_gradients(result: Trace) -> None:
    for card in result.cards:
        card.step = card.gradient = None
    for edge in result.edges:
        edge.upstream = edge.contribution = None


def why_no_gradient(card: Card, status: str) -> str:
    """In a word or two. status: why none can be shown, if so."""
    if not card.tensor.requires_grad:
        return "frozen" if card.kind == "parameter" else "not needed"
    if status == _NOT_RUN:
        return "not run"
    return "not shown" if status else "none reached it"


def _changed(card: Card) -> str:
    """A warning where the value shown is no longer the one that the ops below used."""
    changed = any(changes.since(card.tensor._data, edge.target.tensor.time) for edge in card.uses)
    return "value changed in place after it was used" if changed else ""


def _accumulated(card: Card) -> str:
    """A warning where `.grad` holds more than the gradient that the picture shows."""
    grad = card.tensor._grad
    if card.tensor.op is not None or card.gradient is None or grad is None:
        return ""
    parts = text.chunks(grad._data, card.gradient)
    if all(np.allclose(kept, shown, rtol=1e-4, atol=1e-8, equal_nan=True) for kept, shown in parts):
        return ""
    return f".grad holds {text.magnitude(grad._data)}: more than one backward()"


def _highlight(result: Trace, cards: dict[Tensor, Card], tensor: Tensor) -> None:
    """Derive the gradient of one tensor, and mark the path that brings most of it."""
    if tensor not in cards or not tensor.requires_grad:
        raise ValueError("viz: a tensor to derive the gradient of must be one of this graph that requires a gradient")
    result.derivation = derive(result.root, cards[tensor], result.cards)
    for edge in result.derivation.largest:
        edge.on_path = True
