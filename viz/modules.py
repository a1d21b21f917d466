"""Which modules a graph was computed in: the tree of their calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygrad_edu.autograd import Scope
from tinygrad_edu.nn import Module
from viz.parts import Call, Card


def call_tree(cards: list[Card]) -> Call:
    """Put every op into the module call in which it ran. Each call is an interval of the ops in order.

    So whichever calls are drawn as one card: no value can leave such a card and come back to it.
    """
    top = Call(None, None)
    running = [top]
    for card in cards:
        if card.kind == "op":
            _enter(running, card.tensor.scope)
            card.call = running[-1]
            running[-1].body.append(card)
    for call in reversed(list(top.within())):
        _take_over_sequential(call)
    for number, call in enumerate(top.within()):
        call.number = number
        call.depth = 0 if call.caller is None else call.caller.depth + 1
    return top


def _enter(running: list[Call], scope: Scope | None) -> None:
    """End the calls that the scope is not in, begin those that it is in."""
    chain: list[Scope] = []
    while scope is not None:
        chain.append(scope)
        scope = scope.caller
    chain.reverse()
    common = 0
    while common < min(len(chain), len(running) - 1) and running[common + 1].scope is chain[common]:
        common += 1
    del running[common + 1 :]
    for scope in chain[common:]:
        call = Call(scope, running[-1], paths={scope.path})
        running[-1].body.append(call)
        running.append(call)


def _take_over_sequential(call: Call) -> None:
    """A module that consists of one Sequential, as an MLP does, is drawn without a box around the Sequential."""
    only = call.body[0] if len(call.body) == 1 else None
    if call.scope is not None and isinstance(only, Call) and only.label == "Sequential":
        call.body, call.paths = only.body, call.paths | only.paths
        for part in call.body:
            if isinstance(part, Call):
                part.caller = call
            else:
                part.call = call


def find_model(calls: Call, names: Mapping[str, Any]) -> Scope | None:
    """The module among `names` that has all the module paths in the graph, if there is exactly one."""
    paths = {call.scope.path for call in calls.within() if call.scope is not None}
    models = {value: key for key, value in names.items() if isinstance(value, Module)}
    found = [
        Scope(key, model.label())
        for model, key in models.items()
        if paths <= {path for path, _ in model.named_modules()}
    ]
    return found[0] if paths and len(found) == 1 else None
