"""The derivation of one gradient: every path from the root to a tensor, and what the chain rule makes along each.

A gradient is the sum over all paths of the product of the local derivatives along the path (Griewank & Walther,
"Evaluating Derivatives", 2008, chapter 3). The sweep never looks at paths, of which there may be more than
atoms; it adds up at every fan-out. Where there are few, a person understands the paths better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tinygrad_edu as te
from viz.parts import Card, Edge
from viz.text import norm

MOST_PATHS = 6  # where there are more, the derivation goes card by card


@dataclass(frozen=True)
class Factor:
    """One edge of a path: what arrived there along this path alone, and what went on."""

    edge: Edge
    arriving: Any = None  # None: gradients were not run
    passed: Any = None


@dataclass(frozen=True)
class Derivation:
    """How the gradient of `target` comes from `root`."""

    root: Card
    target: Card
    count: int  # of the paths
    paths: list[list[Factor]]  # each from the root to the target; empty if there are more than MOST_PATHS
    cards: list[Card]  # everything on some path, the root first
    largest: list[Edge]  # the path whose gradient is the largest, or nearly

    @property
    def scalar(self) -> bool:
        """Whether every factor is a number, so that the gradient is a sum of products of numbers."""
        return all(factor.edge.scalar for path in self.paths for factor in path)

    @property
    def name(self) -> str:
        """∂L/∂w; or dL/dw where paths of scalars are added, since ∂L/∂w may be one op's factor among others there."""
        sign = "d" if self.count > 1 and self.paths and self.scalar else "∂"
        return f"{sign}{self.root.symbol}/{sign}{self.target.symbol}"

    def leading(self, card: Card) -> list[Edge]:
        """The uses of a card that lie on a path from the root."""
        between = set(self.cards)
        return [edge for edge in card.uses if edge.needs_grad and edge.target in between]


def derive(root: Card, target: Card, cards: list[Card]) -> Derivation:
    """The derivation of the gradient of `target`; `cards` are all cards, each after those it was made from.

    Raises ValueError if no gradient flows from the root to the target.
    """
    counts = {target: 1}
    for card in cards:
        if card is not target:
            leading = sum(counts.get(edge.source, 0) for edge in card.inputs if edge.needs_grad)
            counts |= {card: leading} if leading else {}
    if root not in counts:
        raise ValueError(f"viz: no gradient flows from {root.name} to {target.name}: no path of ops leads there")
    between = _reached(root, counts)
    few = counts[root] <= MOST_PATHS
    paths = [_along(path, root) for path in _paths(root, target, counts)] if few else []
    result = Derivation(root, target, counts[root], paths, between, [])
    result.largest.extend(_largest(result))
    return result


def _reached(root: Card, counts: dict[Card, int]) -> list[Card]:
    """The cards between root and target, those made last first: what is above the target and under the root."""
    found = {root}
    for card in reversed(counts):
        if card in found:
            found.update(edge.source for edge in card.inputs if edge.needs_grad and edge.source in counts)
    return [card for card in reversed(counts) if card in found]


def _paths(root: Card, target: Card, counts: dict[Card, int]) -> Iterator[list[Edge]]:
    """Every path as its edges, root first."""
    waiting: list[tuple[Card, list[Edge]]] = [(root, [])]
    while waiting:
        card, path = waiting.pop()
        if card is target:
            yield path
            continue
        onward = [edge for edge in card.inputs if edge.needs_grad and edge.source in counts]
        waiting += [(edge.source, [*path, edge]) for edge in reversed(onward)]


def _along(path: list[Edge], root: Card) -> list[Factor]:
    """Carry the gradient along one path, each step made by the sweep from that op alone."""
    factors, arriving = [], root.gradient
    for edge in path:
        passed = None if arriving is None else _pulled_back(edge, arriving)
        factors.append(Factor(edge, arriving, passed))
        arriving = passed
    return factors


def _pulled_back(edge: Edge, arriving: Any) -> Any:
    target = edge.target.tensor
    steps = te.sweep(target, arriving, inputs=[target.inputs[edge.index]])
    return next(step.contribution for step in steps if step.index == edge.index)


def _largest(derivation: Derivation) -> list[Edge]:
    """The path with the largest gradient; of too many, the one that follows the largest contribution up."""
    if derivation.paths:
        most = max(derivation.paths, key=lambda path: _size(path[-1].passed) if path else 0.0)
        return [factor.edge for factor in most]
    edges, card = [], derivation.target
    while card is not derivation.root:
        edges.append(max(derivation.leading(card), key=lambda edge: _size(edge.contribution)))
        card = edges[-1].target
    return edges[::-1]


def _size(gradient: Any) -> float:
    return 0.0 if gradient is None else norm(gradient)
