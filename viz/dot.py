"""From a trace to DOT: cards in their modules, and the lines between them."""

from __future__ import annotations

from typing import Any

from tinygrad_edu.autograd import Scope
from viz.cards import SHOWN_USES, alias_card, derivation_card, edge_hint, leaf_card, op_card, title
from viz.html import cell, row, run, table
from viz.palette import FORMULA, NOTE, SANS, THEMES, Style
from viz.parts import Card, Edge, Trace
from viz.render import load_graphviz
from viz.text import name as readable
from viz.text import printable, size, statistics

DETAILED = 60  # up to so many cards, heat maps and two lines per link


def dot(trace: Trace, *, direction: str, theme: str, heading: str) -> str:
    """The DOT source of a trace. Equal graphs give equal sources."""
    graphviz = load_graphviz()
    style = Style(THEMES[theme], down=direction == "TB", detailed=len(trace.cards) <= DETAILED)
    p = style.palette
    label = f"<{title(trace, heading, style)}>"
    digraph = graphviz.Digraph(
        "tinygrad_edu",
        graph_attr={
            "rankdir": direction,
            "bgcolor": p.paper,
            "pad": "0.3",
            "nodesep": "0.3",
            "ranksep": "0.55",
            "fontname": SANS,
            "label": label,
            "labelloc": "t",
            "labeljust": "l",
            "splines": "polyline" if style.detailed else "true",
            "tooltip": _hint(heading),
        },
        node_attr={"shape": "plain", "fontname": SANS, "fontsize": "11"},
        edge_attr={"fontname": SANS},
    )
    clusters = _Clusters(digraph, trace, style)
    for card in trace.cards:
        _add_card(clusters.of(card.scope if card.kind == "op" else _home(card)), card, trace, style)
    for edge in trace.edges:
        _add_links(digraph, clusters.of(edge.target.scope), edge, style)
    for card in trace.cards:
        _straighten(digraph, card)
    if trace.derivation is not None and trace.derivation.target.gradient is not None:
        _add_derivation(digraph, trace, style)
    clusters.close()
    return str(digraph.source)


def _add_card(graph: Any, card: Card, trace: Trace, style: Style) -> None:
    label = op_card(card, trace, style) if card.kind == "op" else leaf_card(card, style)
    hint = f"{card.formula or card.name}: value {statistics(card.value)}, shape {size(card.value)}"
    hint += (
        f"; gradient {statistics(card.gradient)}" if card.gradient is not None else f"; gradient: {card.no_gradient}"
    )
    step = f" step-{card.step}" if card.step is not None else ""
    graph.node(card.id, label=f"<{label}>", id=card.id, tooltip=_hint(hint), **{"class": f"{card.kind}{step}"})


def _add_links(digraph: Any, graph: Any, edge: Edge, style: Style) -> None:
    """The value's line and the gradient's, or one line of two colours in a large graph."""
    p = style.palette
    out, into = ("s", "n") if style.down else ("e", "w")
    tail, port = edge.source.id, "o"
    uses = edge.source.uses
    if len(uses) > SHOWN_USES:
        tail = f"{edge.source.id}-at-{edge.id}"
        graph.node(
            tail, label=f"<{alias_card(edge, style)}>", id=tail, tooltip=_hint(edge.source.name), **{"class": "alias"}
        )
    elif len(uses) > 1:
        port = f"u{uses.index(edge)}"
    down = {"color": p.value, "penwidth": "1.1", "arrowsize": "0.55", "id": f"f-{edge.id}", "class": "fwd"}
    up = {
        "color": p.gradient,
        "penwidth": "3" if edge.on_path else "1.4",
        "arrowsize": "0.7",
        "tooltip": _hint(edge_hint(edge)),
    }
    up |= {"dir": "back", "id": f"b-{edge.id}", "class": f"bwd step-{edge.target.step}" if edge.target.step else "bwd"}
    head = f"{edge.target.id}:i{edge.index}"
    if not edge.needs_grad:
        digraph.edge(f"{tail}:{port}f:{out}", f"{head}f:{into}", **down)
    elif style.detailed:
        digraph.edge(f"{tail}:{port}f:{out}", f"{head}f:{into}", **down)
        digraph.edge(f"{tail}:{port}b:{out}", f"{head}b:{into}", **up)
    else:
        both = {"color": f"{p.value}:{p.gradient}", "dir": "both", "class": "fwd " + up["class"]}
        digraph.edge(f"{tail}:{port}f:{out}", f"{head}f:{into}", **(up | both))


def _straighten(digraph: Any, card: Card) -> None:
    """Keep a chain of ops in one line: without this, each card would hang from its left column, and the chain drift."""
    before = sorted(
        {(e.source.depth, e.source.id) for e in card.inputs if len(e.source.uses) <= SHOWN_USES}, reverse=True
    )
    if before and before[0][0] > 0 and (len(before) == 1 or before[1][0] < before[0][0]):
        digraph.edge(before[0][1], card.id, style="invis", weight="8")


def _add_derivation(digraph: Any, trace: Trace, style: Style) -> None:
    """Beside the root, where the chain rule starts."""
    assert trace.derivation is not None
    label = f"<{derivation_card(trace.derivation, style)}>"
    digraph.node("derivation", label=label, id="derivation", tooltip="the chain rule, factor by factor")
    if trace.root.scope is None:
        with digraph.subgraph() as same:
            same.attr(rank="same")
            same.node("derivation")
            same.node(trace.root.id)
        digraph.edge("derivation", trace.root.id, style="invis")


def _hint(content: str) -> str:
    """A tooltip as Graphviz shall show it: neither backslashes nor <...> mean anything."""
    escaped: str = load_graphviz().escape(printable(content))  # not a plain string: it remembers that it is no HTML
    return escaped


# Modules ----------------------------------------------------------------------------------------------------


def _home(card: Card) -> Scope | None:
    """A parameter lives in the module that uses it; other leaves come from outside."""
    scopes = {edge.target.scope for edge in card.uses}
    return scopes.pop() if card.kind == "parameter" and len(scopes) == 1 else None


class _Clusters:
    """The nested boxes of the modules that recorded something."""

    def __init__(self, digraph: Any, trace: Trace, style: Style) -> None:
        self.digraph, self.style, self.model = digraph, style, trace.model
        scopes = dict.fromkeys(card.scope for card in trace.cards if card.scope is not None)
        self.by_path = {scope.path: scope for scope in scopes if scope.path}
        outer = [scope for scope in scopes if not scope.path]
        if self.model is not None and not outer:
            outer = [Scope("", self.model.label)]
        self.outermost = outer[0] if len(outer) == 1 else None  # of several, none can be said to hold the others
        self.graphs = {
            scope: type(digraph)(f"cluster_{number}", graph_attr=self._look(scope, number))
            for number, scope in enumerate(dict.fromkeys([*scopes, *outer]))
        }

    def of(self, scope: Scope | None) -> Any:
        """The graph that the cards of a scope belong to."""
        return self.digraph if scope is None else self.graphs[scope]

    def close(self) -> None:
        """Put each box into the one around it, innermost first."""
        for scope in sorted(self.graphs, key=lambda scope: -self._depth(scope)):
            self.of(self._parent(scope)).subgraph(self.graphs[scope])

    def _parent(self, scope: Scope) -> Scope | None:
        if not scope.path:
            return None
        parts = scope.path.split(".")
        prefixes = (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
        return next((self.by_path[prefix] for prefix in prefixes if prefix in self.by_path), self.outermost)

    def _depth(self, scope: Scope) -> int:
        depth, parent = 0, self._parent(scope)
        while parent is not None:
            depth, parent = depth + 1, self._parent(parent)
        return depth

    def _look(self, scope: Scope, number: int) -> dict[str, str]:
        p = self.style.palette
        path = ".".join(part for part in (self.model.path if self.model else "", scope.path) if part)
        heading, detail = (readable(path), scope.label) if path else (scope.label, "")
        cells = [cell(run(f"▾ {heading}", FORMULA, p.ink, bold=True), align="left")]
        cells += [cell(width=6), cell(run(detail, NOTE + 0.5, p.muted), align="left")] if detail else []
        return {
            "label": f"<{table(row(*cells), cellpadding=3)}>",
            "labeljust": "l",
            "style": "rounded,filled",
            "fillcolor": p.modules[self._depth(scope) % 2],
            "color": p.module_border,
            "margin": "12",
            "id": f"m{number}",
            "tooltip": _hint(f"{path} {scope.label}".strip()),
        }
