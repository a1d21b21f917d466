"""From a trace to a view: which modules are drawn as one card each, so that the picture can be read.

Every fold is an interval of the ops in the order in which they ran. So the lines between cards and folds never form a
circle. The work is linear in the size of the graph.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TypeAlias

from tinygrad_edu.autograd import Scope
from viz.parts import Call, Card, Definition, Edge, Fold, Link, Trace, View
from viz.repeats import Unit, ops, stacks, structures
from viz.sentences import sentence

Row: TypeAlias = list[Card | Call | Fold]  # what stands directly in an open module, in order
_DEEPEST = sys.maxsize
_FEWEST_CARDS = 4  # where so few still take too long to lay out, the engine is at fault
_ENDS = 2  # a run leaves so many units before and after it in sight


@dataclass(frozen=True)
class Folding:
    """Which modules a picture folds: the options of `fold`."""

    depth: int | None = None
    expand: Collection[str] = ()
    collapse: Callable[[Scope], bool] | None = None
    budget: int | None = 60
    why: str = ""  # it is not what was asked for

    def view(self, trace: Trace) -> View:
        """What is drawn of a trace."""
        view = fold(trace, depth=self.depth, expand=self.expand, collapse=self.collapse, budget=self.budget)
        view.note = sentence("further", why=self.why, words=view.note) if self.why else view.note
        return view

    def halved(self, view: View, error: TimeoutError) -> Folding:
        """The same with half as many cards as a view that took too long; the error again where they are too few."""
        budget = len(view.nodes) // 2
        if budget < _FEWEST_CARDS:
            raise error
        return replace(self, depth=None, budget=budget, why=str(error).partition(":")[0])


def fold(
    trace: Trace,
    *,
    depth: int | None = None,
    expand: Collection[str] = (),
    collapse: Callable[[Scope], bool] | None = None,
    budget: int | None = 60,
) -> View:
    """Choose what is drawn of a trace.

    depth: how many levels of modules stay open; None: as many as fit the budget of cards, the deepest folded first.
    expand: paths of modules that stay open whatever their depth. collapse: tells of a module whether to fold it.
    """
    pinned = _pinned(trace, expand)
    closed = {call for call in trace.calls.within() if call.scope is not None and collapse and collapse(call.scope)}
    if depth is not None:
        closed |= {call for call in trace.calls.within() if call.depth > depth}
    rows = _Rows(trace, closed - pinned)
    if depth is None and budget is not None:
        _fit(rows, pinned, budget)
    return rows.view()


def _pinned(trace: Trace, expand: Collection[str]) -> set[Call]:
    """The calls that stay open: those named, those around them, and those around the highlighted tensor."""
    pinned: set[Call | None] = set()
    named = [call for path in expand for call in _found(trace, path)]
    if trace.derivation is not None:
        target = trace.derivation.target
        near = [target, *(edge.target for edge in target.uses)]
        named += [card.call for card in near if card.call is not None]
    for call in [trace.calls, *named]:
        around: Call | None = call
        while around is not None and around not in pinned:
            pinned.add(around)
            around = around.caller
    return {call for call in pinned if call is not None}


def _found(trace: Trace, path: str) -> list[Call]:
    """The calls of the module with this path, or the definitions of the fused ops that were opened by this name."""
    if path in trace.opened:
        return [call for call in trace.calls.within() if any(call.scope is scope for scope in trace.opened[path])]
    modules = [call for call in trace.calls.within() if call.scope is not None]
    found = [call for call in modules if path in call.paths or path == trace.path_of(call)]
    if not found:
        known = list(dict.fromkeys(trace.path_of(call) for call in modules))
        near = get_close_matches(path, known, 1) or known[:3] + ["..."] * (len(known) > 3)
        there = ", ".join(near) or "none"
        raise ValueError(f"viz: expand={path!r} is no module and no fused op of this graph; its modules: {there}")
    return found


def _fit(rows: _Rows, pinned: set[Call], budget: int) -> None:
    """Fold what fused ops opened into, then level after level, the deepest first, then what is in the middle of rows.

    But the outermost module stays open, if there is only one.
    """
    levels: dict[int, set[Call]] = defaultdict(set)
    for call in rows.trace.calls.within():
        levels[_DEEPEST if isinstance(call.scope, Definition) else call.depth].add(call)
    outermost = 2 if len(levels[1]) == 1 else 1
    for level in sorted(levels, reverse=True):
        if level < outermost or len(rows.view().nodes) <= budget:
            break
        rows.closed |= levels[level] - pinned
        rows.rebuild()
    while (excess := len(rows.view().nodes) - budget) > 0 and rows.hide_run(excess):
        pass


class _Rows:
    """The open modules, each with the row of what stands in it."""

    def __init__(self, trace: Trace, closed: set[Call]) -> None:
        self.trace, self.closed = trace, closed
        self.structure = structures(trace.calls)
        self.rebuild()

    def rebuild(self) -> None:
        """The rows anew, from which calls are closed."""
        self.rows: dict[Call, Row] = {}
        waiting = [self.trace.calls]
        while waiting:
            call = waiting.pop()
            self.rows[call] = self._row(call)
            waiting.extend(unit for unit in self.rows[call] if isinstance(unit, Call))

    def _row(self, home: Call) -> Row:
        """Closed modules become folds, equal ones in a row one fold."""
        row: Row = []
        position = 0
        for start, stop in _segments(home.body, lambda unit: not self._open(unit)):
            row += home.body[position:start]
            part, place = home.body[start:stop], 0
            for first, period, times in stacks(part, self.structure):
                row += [self._folded(unit, home) for unit in part[place:first]]
                place = first + period * times
                repetitions = [part[at : at + period] for at in range(first, place, period)]
                number = next(unit.number for unit in part[first:place] if isinstance(unit, Call))
                row.append(Fold(f"m{number}x{times}", repetitions, home))
            row += [self._folded(unit, home) for unit in part[place:]]
            position = stop
        return row + home.body[position:]

    def _open(self, unit: Unit) -> bool:
        return isinstance(unit, Call) and unit not in self.closed

    def _folded(self, unit: Unit, home: Call) -> Card | Fold:
        return unit if isinstance(unit, Card) else Fold(f"m{unit.number}", [[unit]], home)

    def hide_run(self, excess: int) -> bool:
        """Fold the middle of the longest row into one card, to save so many cards if possible. Tells whether it did."""
        segments = (
            (stop - start, -home.number, start, home)
            for home, row in self.rows.items()
            for start, stop in _segments(row, lambda unit: not isinstance(unit, Call) and not _is_run(unit))
        )
        length, _, start, home = max(segments, key=lambda found: found[:3], default=(0, 0, 0, self.trace.calls))
        if length < 2 * _ENDS + 2:
            return False
        weight = self._weights()
        row = self.rows[home]
        first = last = start + length // 2
        saved = -1  # the run itself is one card
        while saved < excess and (first > start + _ENDS or last < start + length - _ENDS):
            if first > start + _ENDS:
                first -= 1
                saved += weight[_identity(row[first])]
            if saved < excess and last < start + length - _ENDS:
                saved += weight[_identity(row[last])]
                last += 1
        units = [unit for node in row[first:last] for unit in _units(node)]
        row[first:last] = [Fold(f"run-{ops(units[0])[0].id}", [units], home)]
        return True

    def _weights(self) -> dict[str, int]:
        """How many cards vanish with each node: itself, and the leaves that it alone uses."""
        weights: dict[str, int] = defaultdict(lambda: 1)
        view = self.view()
        for node in view.nodes:
            targets = {link.target.id for link in view.uses[node.id]}
            if isinstance(node, Card) and node.kind != "op" and len(targets) == 1:
                weights[targets.pop()] += 1
        return weights

    def view(self) -> View:
        """The picture of these rows."""
        nodes = self._nodes()
        shown: dict[Card, Card | Fold] = {}
        for node in nodes:
            if isinstance(node, Fold):
                node.cards = [card for part in node.parts for unit in part for card in ops(unit)]
                node.leaves = []
                shown |= dict.fromkeys(node.cards, node)
            else:
                shown[node] = node
        leaves = []
        for leaf in self.trace.cards:
            if leaf.kind != "op":
                shown[leaf] = _holder(leaf, shown) or leaf
                leaves += [leaf] if shown[leaf] is leaf else []
        order = {card: number for number, card in enumerate(self.trace.cards)}
        nodes = sorted([*leaves, *nodes], key=lambda node: order[node if isinstance(node, Card) else node.cards[0]])
        return _linked(self.trace, nodes, shown)

    def _nodes(self) -> list[Card | Fold]:
        """The ops and folds of all rows."""
        return [node for row in self.rows.values() for node in row if not isinstance(node, Call)]


def _segments(row: Iterable[object], fits: Callable[..., bool]) -> list[tuple[int, int]]:
    """The longest stretches (start, stop) of a row in which everything fits."""
    found: list[tuple[int, int]] = []
    for place, unit in enumerate(row):
        if fits(unit):
            if found and found[-1][1] == place:
                found[-1] = (found[-1][0], place + 1)
            else:
                found.append((place, place + 1))
    return found


def _is_run(unit: Card | Call | Fold) -> bool:
    return isinstance(unit, Fold) and unit.kind == "run"


def _units(node: Card | Call | Fold) -> list[Unit]:
    return [unit for part in node.parts for unit in part] if isinstance(node, Fold) else [node]


def _identity(node: Card | Call | Fold) -> str:
    return "" if isinstance(node, Call) else node.id


def _holder(leaf: Card, shown: dict[Card, Card | Fold]) -> Fold | None:
    """The fold that a leaf vanishes into: its only user, if the leaf is a parameter or was made on the way.

    What goes into a fold from outside stays in sight, but not what only a later part of a run or stack uses, such as
    the input of one step of a loop.
    """
    holders = {shown[edge.target] for edge in leaf.uses}
    holder = holders.pop() if len(holders) == 1 else None
    if not isinstance(holder, Fold):
        return None
    made_inside = leaf.tensor.time > holder.cards[0].tensor.time
    later = holder.kind != "module" and len(leaf.uses) == 1 and leaf.uses[0].target not in _first_cards(holder)
    if leaf.kind == "parameter" or made_inside or later:
        holder.leaves.append(leaf)
        return holder
    return None


def _first_cards(holder: Fold) -> list[Card]:
    return [card for unit in holder.parts[0][: None if holder.kind == "stack" else 1] for card in ops(unit)]


def _linked(trace: Trace, nodes: list[Card | Fold], shown: dict[Card, Card | Fold]) -> View:
    """The lines: one for each use by an op that is drawn, one for all uses by the same fold."""
    links: dict[str, Link] = {}
    for edge in trace.edges:
        source, target = shown[edge.source], shown[edge.target]
        if source is not target:
            identity = edge.id if isinstance(target, Card) else f"{target.id}-{source.id}"
            links.setdefault(identity, Link(identity, source, target, [])).edges.append(edge)
    inputs: dict[str, list[Link]] = {node.id: [] for node in nodes}
    uses: dict[str, list[Link]] = {node.id: [] for node in nodes}
    for link in links.values():
        inputs[link.target.id].append(link)
    for link in reversed(links.values()):
        uses[link.source.id].append(link)
    for node in nodes:
        uses[node.id] = _in_order_of_use(node, uses[node.id])
    view = View(trace, nodes, list(links.values()), shown, inputs, uses)
    view.note = _note(view)
    return view


def _in_order_of_use(node: Card | Fold, links: list[Link]) -> list[Link]:
    """In the order in which the gradients are added up."""
    if isinstance(node, Fold):
        return links
    order: dict[Edge, int] = {edge: number for number, edge in enumerate(node.uses)}
    return sorted(links, key=lambda link: order[link.edges[0]])


def _note(view: View) -> str:
    """What is folded, in words."""
    if not view.folds:
        return ""
    folded = sum(len(node.cards) for node in view.folds)
    total = sum(card.kind == "op" for card in view.trace.cards)
    several = len(view.folds) > 1
    cards = f"{len(view.folds)} cards" if several else "one card"
    first = next((unit for node in view.folds for part in node.parts for unit in part if isinstance(unit, Call)), None)
    path = view.trace.path_of(first) if first is not None else ""
    if not path:
        return sentence("folded", folded=folded, total=total, cards=cards)
    return sentence("opens", folded=folded, total=total, cards=cards, path=repr(path), it="one" if several else "it")
