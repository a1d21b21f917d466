"""What is conspicuous in a graph: dead units, gradients that vanish or explode, NaN, parameters without a gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_edu import gates
from tinygrad_edu.anomaly import born_backward, born_forward
from tinygrad_edu.autograd import Step
from tinygrad_edu.nn import Module
from viz import text
from viz.parts import Call, Card, Flag, Trace
from viz.sentences import sentence

_LEAST, _MOST = 1e-3, 1e3  # a module's gradient norm, as a multiple of the next module's
_UNITS = ("relu", "sigmoid", "tanh")  # whose last axis are units, and whose rows are examples


def find_flags(trace: Trace, names: Mapping[str, Any]) -> list[Flag]:
    """Everything conspicuous, what is worst first. Linear in the graph and its values."""
    if trace.stale:
        return []
    with np.errstate(all="ignore"):
        flags = [*_not_finite(trace), *_not_reached(trace), *_missing(trace, names), *_shut_units(trace)]
        return flags if trace.status else [*flags, *_jumps(trace)]


# NaN and infinity -------------------------------------------------------------------------------------------


def _not_finite(trace: Trace) -> Iterator[Flag]:
    """The first op, forwards or else backwards, that made NaN, or infinity of what was finite; or what came in so."""
    for card in trace.cards:
        words = _born(card, trace)
        if words:
            yield Flag(card, words)
            return
    for card in reversed(trace.cards):
        for edge in card.inputs:
            if edge.contribution is not None and not np.isfinite(edge.contribution).all():
                tensor, source = card.tensor, edge.source.tensor
                assert tensor.op is not None
                step = Step(tensor.op, tensor, edge.index, source, edge.upstream, edge.contribution)
                if words := born_backward(step).partition("\n")[0]:
                    yield Flag(card, words)
                    return


def _born(card: Card, trace: Trace) -> str:
    tensor = card.tensor
    if tensor.op is None:
        return sentence("nan") if np.isnan(np.sum(card.value)) and np.isnan(card.value).any() else ""
    path = trace.path_of(card.call) if card.call is not None else ""
    return born_forward(tensor.op, tensor.inputs, tensor.options, tensor, path).partition("\n")[0]


# Parameters -------------------------------------------------------------------------------------------------


def _not_reached(trace: Trace) -> Iterator[Flag]:
    """Parameters of the graph that no gradient reached, though it ran."""
    for card in trace.cards:
        if card.kind == "parameter" and card.tensor.requires_grad and card.gradient is None and not trace.status:
            yield Flag(card, sentence("not_reached"))


def _missing(trace: Trace, names: Mapping[str, Any]) -> Iterator[Flag]:
    """Parameters that the graph does not hold at all, of a module of which it holds others."""
    held = {card.tensor for card in trace.cards}
    for name, module in names.items():
        if isinstance(module, Module) and not trace.status:
            parameters = dict(module.named_parameters())
            missing = [path for path, parameter in parameters.items() if parameter not in held]
            if missing and len(missing) < len(parameters):
                listed = ", ".join(f"{name}.{path}" for path in missing[:3]) + (", …" if len(missing) > 3 else "")
                words = "parameters are" if len(missing) > 1 else "parameter is"
                yield Flag(None, sentence("missing", count=len(missing), parameters=words, names=listed))


# Units ------------------------------------------------------------------------------------------------------


def _shut_units(trace: Trace) -> Iterator[Flag]:
    """Units that are closed, or saturated, in every row: nothing that any example says can change them."""
    for card in trace.cards:
        op, y = card.tensor.op, np.asarray(card.value)
        if op is None or op.name not in _UNITS or y.ndim < 2 or y.size <= y.shape[-1]:
            continue
        kind, flat = gates.shut(op, y, card.tensor.options)
        units = int(flat.reshape(-1, y.shape[-1]).all(axis=0).sum())
        if units:
            are = "units are" if units > 1 else "units is"
            yield Flag(card, sentence(kind, count=units, size=y.shape[-1], units=are))


# Modules ----------------------------------------------------------------------------------------------------


def _jumps(trace: Trace) -> Iterator[Flag]:
    """Modules at whose output the gradient is far smaller or larger than at that of the module which uses it."""
    outputs = _outputs(trace)
    norms = {call: text.together(card.gradient for card in cards) for call, cards in outputs.items()}
    after = _after(trace, norms)
    for call, cards in outputs.items():
        assert call.caller is not None
        uses = [edge.target for card in cards for edge in card.uses if edge.needs_grad]
        behind = [_next(call.caller, target, norms, after) for target in uses if not _within(target.call, call)]
        following, own = max(behind, default=0.0), norms[call]
        if following and np.isfinite(own) and not _LEAST <= own / following <= _MOST:
            kind = "vanishes" if own < following else "explodes"
            yield Flag(cards[-1], sentence(kind, norm=text.number(own), ratio=text.number(own / following)))


def _outputs(trace: Trace) -> dict[Call, list[Card]]:
    """For each module call the ops whose values are used outside of it."""
    found: dict[Call, list[Card]] = {}
    for card in trace.cards:
        call = card.call
        while call is not None and call.caller is not None:
            if card is trace.root or any(not _within(edge.target.call, call) for edge in card.uses):
                found.setdefault(call, []).append(card)
            call = call.caller
    return found


def _after(trace: Trace, norms: dict[Call, float]) -> dict[Card, float]:
    """For each op the largest gradient norm of the modules, called by the same one, that it leads to through ops."""
    after: dict[Card, float] = {}
    for card in reversed(trace.cards):
        if card.call is not None:
            uses = [edge.target for edge in card.uses if edge.needs_grad]
            after[card] = max((_next(card.call, target, norms, after) for target in uses), default=0.0)
    return after


def _next(home: Call, target: Card, norms: dict[Call, float], after: dict[Card, float]) -> float:
    """The norm at the module that was called by `home` and holds the target; behind an op of its own, what follows."""
    if target.call is home:
        return after.get(target, 0.0)
    call = target.call
    while call is not None and call.caller is not home:
        call = call.caller
    return norms.get(call, 0.0) if call is not None else 0.0


def _within(inner: Call | None, outer: Call) -> bool:
    while inner is not None and inner is not outer:
        inner = inner.caller
    return inner is outer
