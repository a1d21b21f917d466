"""Which layouts of a graph a page holds, and which of them a click on a module leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from viz.fold import Folding
from viz.parts import Call, Fold, Trace, View

_MOST_NODES = 160  # cards in all the layouts of a page


@dataclass
class Layout:
    """A view, and where the reader can go from it: the numbers of other layouts."""

    view: View
    folds: dict[str, int] = field(default_factory=dict)  # by the id of a module or fold in the picture
    less: int | None = None
    more: int | None = None

    @cached_property
    def open(self) -> frozenset[Call]:
        """The modules that are drawn open."""
        found: set[Call] = set()
        for node in self.view.nodes:
            call: Call | None = self.view.home(node)
            while call is not None and call not in found:
                found.add(call)
                call = call.caller
        return frozenset(found)


def layouts(trace: Trace, folding: Folding) -> list[Layout]:
    """The layout that was asked for; then one for each depth; then one for each module that can be opened alone."""
    candidates = [folding]
    first = folding.view(trace)
    if any(isinstance(part, Call) for part in trace.calls.body):
        depths = max(call.depth for call in trace.calls.within())
        candidates += [replace(folding, depth=depth, budget=None) for depth in range(depths + 1)]
        paths = dict.fromkeys(trace.path_of(unit) for fold in first.folds for unit in _modules(fold)[:1])
        candidates += [replace(folding, expand=[*folding.expand, path]) for path in paths if path]
    found = [Layout(view) for view in _affordable(each.view(trace) for each in candidates)]
    for layout in found:
        _lead(layout, found, trace)
    return found


def _affordable(views: Iterable[View]) -> list[View]:
    """The first of them, and of the others those that differ and fit on a page of bounded size."""
    different: dict[frozenset[str], View] = {}
    room = _MOST_NODES
    for view in views:
        drawn = frozenset(node.id for node in view.nodes)
        if drawn not in different and (not different or len(drawn) <= room):
            different[drawn] = view
            room -= len(drawn)
    return list(different.values())


def _modules(fold: Fold) -> list[Call]:
    return [unit for part in fold.parts for unit in part if isinstance(unit, Call)]


def _lead(layout: Layout, others: list[Layout], trace: Trace) -> None:
    """Where to go from a layout: to more or less detail, into each fold, and out of each open module."""
    sizes = {number: len(other.view.nodes) for number, other in enumerate(others)}
    own = len(layout.view.nodes)
    layout.less = max((n for n in sizes if sizes[n] < own), key=lambda n: (sizes[n], -n), default=None)
    layout.more = min((n for n in sizes if sizes[n] > own), key=lambda n: (sizes[n], n), default=None)
    for fold in layout.view.folds:
        _add(layout, others, fold.id, partial(_opens, fold))
    for call in sorted(layout.open - {trace.calls}, key=lambda call: call.number):
        _add(layout, others, f"m{call.number}", partial(_closes, call))


def _opens(fold: Fold, other: Layout) -> bool:
    first = fold.cards[0]
    return not other.open.isdisjoint(_modules(fold)) or other.view.shown[first] is first


def _closes(call: Call, other: Layout) -> bool:
    return call not in other.open


def _add(layout: Layout, others: list[Layout], identity: str, fits: Callable[[Layout], bool]) -> None:
    """The layout that fits and differs least in which modules are open."""
    fitting = [number for number, other in enumerate(others) if other is not layout and fits(other)]
    if fitting:
        layout.folds[identity] = min(fitting, key=lambda number: (len(layout.open ^ others[number].open), number))
