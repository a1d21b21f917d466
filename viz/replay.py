"""One step of gradient descent: new parameters, and the recorded graph computed once more from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from viz.parts import Card, Trace
from viz.text import number

RATES = tuple(digit * 10.0**power for power in range(-4, 1) for digit in (1, 2, 5))  # 0.0001 to 5


@dataclass(frozen=True)
class Descent:
    """What one step with the step size `rate` does: the root before and after, and what the gradients foretold.

    foretold = before − rate · Σ g², the first two terms of Taylor's series.
    """

    rate: float
    before: float
    after: float
    foretold: float
    numbers: dict[str, float]  # what every single number in the graph is after the step, by the id of its card


class CannotReplayError(ValueError):
    """The recorded graph does not give the same numbers again; says why."""


def replay(trace: Trace, values: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every card, by id, computed anew in the order of recording from new values of some leaves.

    The recorded tensors stay as they are. An op gets the options that it was recorded with.
    """
    result: dict[str, Any] = {}
    known = {card.tensor: card for card in trace.cards}
    for card in trace.cards:
        op = card.tensor.op
        if op is None:
            result[card.id] = values.get(card.id, card.value)
        else:
            inputs = [result[known[x].id] if x in known else x for x in card.tensor.inputs]
            with np.errstate(all="ignore"):
                result[card.id] = op(*inputs, **card.tensor.options)
    return result


def trainable(trace: Trace) -> list[Card]:
    """The leaves that a step of gradient descent moves: the parameters, or without any, the variables."""
    leaves = [card for card in trace.cards if card.gradient is not None and card.kind in ("parameter", "variable")]
    return [card for card in leaves if card.kind == "parameter"] or leaves


def updated(card: Card, rate: float) -> Any:
    """p − rate · g, in the dtype of p."""
    return (card.value - rate * card.gradient).astype(card.value.dtype)


def descend(trace: Trace, rate: float) -> Descent:
    """Take one step and compute the root again. Raises CannotReplayError where the graph cannot be repeated."""
    root, leaves = trace.root, trainable(trace)
    before = float(root.value)
    after = replay(trace, {card.id: updated(card, rate) for card in leaves})
    numbers = {key: value.item() for key, value in after.items() if np.ndim(value) == 0}
    square = sum(float(np.sum(np.square(card.gradient, dtype=np.float64))) for card in leaves)
    return Descent(rate, before, numbers[root.id], before - rate * square, numbers)


def why_no_descent(trace: Trace) -> str:
    """Why no step can be shown for this graph, or "": what is computed again must first be what was recorded."""
    root = trace.root
    if trace.status:
        return trace.status
    if np.size(root.value) != 1 or np.ndim(root.value) or not trainable(trace):
        return "only a single number that depends on parameters can be lowered"
    if not np.isfinite(root.value):
        return f"{root.symbol} is {number(root.value)}, and a step from there leads nowhere"
    again = replay(trace, {})
    for card in trace.cards:
        if not np.array_equal(again[card.id], card.value, equal_nan=card.value.dtype.kind == "f"):
            return (
                f"computed again from the same numbers, {card.name} is another one "
                f"({card.op.partition(' ')[0]} draws at random, or reads something that changed)"
            )
    return ""
