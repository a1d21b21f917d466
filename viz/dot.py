"""From a view to DOT: cards in their modules, and the lines between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from viz.cards import derivation_card, leaf_card, op_card, title
from viz.folded import ENTRIES, fold_card, fold_hint
from viz.frame import SHOWN_USES, alias_card, link_hint
from viz.html import cell, row, run, table
from viz.palette import FORMULA, NOTE, SANS, Palette, Style
from viz.parts import Call, Card, Fold, Link, View
from viz.render import load_graphviz
from viz.signs import clipped
from viz.text import FEW, printable, size, statistics
from viz.text import name as readable

_LONGEST_HINT = 2000  # characters: Graphviz reads no text of more than 16 kB
DETAILED = 60  # up to so many cards, heat maps and two lines per link


@np.errstate(all="ignore")  # whatever the user's own pass already warned about
def dot(view: View, *, direction: str, palette: Palette, heading: str) -> str:
    """The DOT source of a view. Equal graphs give equal sources."""
    graphviz = load_graphviz()
    style = Style(palette, down=direction == "TB", detailed=len(view.nodes) <= DETAILED, cells=_resolution(view))
    p = style.palette
    digraph = graphviz.Digraph(
        "tinygrad_edu",
        graph_attr={
            "rankdir": direction,
            "bgcolor": p.paper,
            "pad": "0.3",
            "nodesep": "0.3",
            "ranksep": "0.55",
            "fontname": SANS,
            "label": f"<{title(view, heading, style)}>",
            "labelloc": "t",
            "labeljust": "l",
            "splines": "polyline" if style.detailed else "true",
            "tooltip": _hint(heading),
        },
        node_attr={"shape": "plain", "fontname": SANS, "fontsize": "11"},
        edge_attr={"fontname": SANS},
    )
    clusters = _Clusters(digraph, view, style)
    for node in view.nodes:
        _add_node(clusters.of(view.home(node)), node, view, style)
    for link in view.links:
        _add_lines(digraph, clusters.of(view.home(link.target)), link, view, style)
    for node in view.nodes:
        _straighten(digraph, node, view)
        _lower(digraph, node, view)
    if view.trace.derivation is not None and view.trace.derivation.target.gradient is not None:
        _add_derivation(digraph, view, style)
    clusters.close()
    return str(digraph.source)


def _resolution(view: View) -> int:
    """Coarser heat maps where there are many: in an SVG, each cell takes a hundred bytes."""
    large = sum(isinstance(node, Card) and np.size(node.value) > FEW for node in view.nodes)
    return 16 if large <= 20 else 12 if large <= 35 else 8


def _add_node(graph: Any, node: Card | Fold, view: View, style: Style) -> None:
    if isinstance(node, Fold):
        label, hint, kind = fold_card(node, view, style), fold_hint(node, view), "fold"
        steps = [card.step for card in node.cards if card.step is not None]
    else:
        label = op_card(node, view, style) if node.kind == "op" else leaf_card(node, view, style)
        hint, kind, steps = _card_hint(node), node.kind, [node.step] if node.step is not None else []
    classes = " ".join([kind, *(f"step-{step}" for step in sorted(steps)[:1])])
    graph.node(node.id, label=f"<{label}>", id=node.id, tooltip=_hint(hint), **{"class": classes})


def _card_hint(card: Card) -> str:
    hint = f"{card.formula or card.name}: value {statistics(card.value)}, shape {size(card.value)}; gradient"
    return f"{hint} {statistics(card.gradient)}" if card.gradient is not None else f"{hint}: {card.no_gradient}"


def _add_lines(digraph: Any, graph: Any, link: Link, view: View, style: Style) -> None:
    """The value's line and the gradient's, or one line of two colours in a large graph."""
    p = style.palette
    out, into = ("s", "n") if style.down else ("e", "w")
    tail, port = link.source.id, "o"
    uses = view.uses[link.source.id]
    if len(uses) > SHOWN_USES:
        tail = f"{link.source.id}-at-{link.id}"
        label, hint = alias_card(link, view, style), view.name(link.source)
        graph.node(tail, label=f"<{label}>", id=tail, tooltip=_hint(hint), **{"class": "alias"})
    elif len(uses) > 1:
        port = f"u{uses.index(link)}"
    down = {"color": p.value, "penwidth": "1.1", "arrowsize": "0.55", "id": f"f-{link.id}", "class": "fwd"}
    up = {
        "color": p.gradient,
        "penwidth": "3" if link.on_path else "1.4",
        "arrowsize": "0.7",
        "tooltip": _hint(link_hint(link)),
    }
    steps = [edge.target.step for edge in link.edges if edge.target.step is not None]
    up |= {"dir": "back", "id": f"b-{link.id}", "class": f"bwd step-{min(steps)}" if steps else "bwd"}
    head = f"{link.target.id}:{_entry(link, view)}"
    if not link.needs_grad:
        digraph.edge(f"{tail}:{port}f:{out}", f"{head}f:{into}", **down)
    elif style.detailed:
        digraph.edge(f"{tail}:{port}f:{out}", f"{head}f:{into}", **down)
        digraph.edge(f"{tail}:{port}b:{out}", f"{head}b:{into}", **up)
    else:
        both = {"color": f"{p.value}:{p.gradient}", "dir": "both", "class": "fwd " + up["class"]}
        digraph.edge(f"{tail}:{port}f:{out}", f"{head}f:{into}", **(up | both))


def _entry(link: Link, view: View) -> str:
    """The port where a link arrives: at an op, that of the input."""
    if isinstance(link.target, Card):
        return f"i{link.edges[0].index}"
    return f"i{min(view.inputs[link.target.id].index(link), ENTRIES - 1)}"


def _straighten(digraph: Any, node: Card | Fold, view: View) -> None:
    """Keep a chain of ops in one line: without this, each card would hang from its left column, and the chain drift."""
    sources = {
        (_depth(link.source), link.source.id)
        for link in view.inputs[node.id]
        if len(view.uses[link.source.id]) <= SHOWN_USES
    }
    before = sorted(sources, reverse=True)
    if before and before[0][0] > 0 and (len(before) == 1 or before[1][0] < before[0][0]):
        digraph.edge(before[0][1], node.id, style="invis", weight="8")


def _lower(digraph: Any, node: Card | Fold, view: View) -> None:
    """Put the leaves of a module below what the module starts from: else its box would have to stand beside it."""
    home = view.home(node)
    leaves = [
        link.source.id for link in view.inputs[node.id] if _is_leaf(link.source) and view.home(link.source) is home
    ]
    for link in view.inputs[node.id]:
        if home is not view.trace.calls and view.home(link.source) is not home and not _is_leaf(link.source):
            for leaf in leaves:
                digraph.edge(link.source.id, leaf, style="invis", weight="2")


def _is_leaf(node: Card | Fold) -> bool:
    return isinstance(node, Card) and node.kind != "op"


def _depth(node: Card | Fold) -> int:
    return max(card.depth for card in node.cards) if isinstance(node, Fold) else node.depth


def _add_derivation(digraph: Any, view: View, style: Style) -> None:
    """Beside the root, where the chain rule starts."""
    assert view.trace.derivation is not None
    label = f"<{derivation_card(view.trace.derivation, style)}>"
    digraph.node("derivation", label=label, id="derivation", tooltip="the chain rule, factor by factor")
    root = view.shown[view.trace.root]
    if view.home(root) is view.trace.calls:
        with digraph.subgraph() as same:
            same.attr(rank="same")
            same.node("derivation")
            same.node(root.id)
        digraph.edge("derivation", root.id, style="invis")


def _hint(content: str) -> str:
    """A tooltip as Graphviz shall show it: neither backslashes nor <...> nor &...; mean anything."""
    plain = clipped(printable(content), _LONGEST_HINT).replace("&", "&amp;")
    escaped: str = load_graphviz().escape(plain)  # not a plain string: it remembers that it is no HTML
    return escaped


# Modules ----------------------------------------------------------------------------------------------------


class _Clusters:
    """The nested boxes of the modules that are open."""

    def __init__(self, digraph: Any, view: View, style: Style) -> None:
        self.digraph, self.style, self.trace = digraph, style, view.trace
        homes = {view.home(node) for node in view.nodes}
        self.graphs: dict[Call, Any] = {}
        for call in reversed(list(view.trace.calls.within())):
            if call.caller is not None and (call in homes or call in {open.caller for open in self.graphs}):
                self.graphs[call] = type(digraph)(f"cluster_{call.number}", graph_attr=self._look(call))

    def of(self, call: Call) -> Any:
        """The graph that what stands in a module belongs to."""
        return self.graphs.get(call, self.digraph)

    def close(self) -> None:
        """Put each box into the one around it, innermost first."""
        for call, graph in self.graphs.items():
            assert call.caller is not None
            self.of(call.caller).subgraph(graph)

    def _look(self, call: Call) -> dict[str, str]:
        p = self.style.palette
        path = self.trace.path_of(call)
        heading, detail = (readable(path), call.label) if path else (call.label, "")
        cells = [cell(run(f"▾ {heading}", FORMULA, p.ink, bold=True), align="left")]
        cells += [cell(width=6), cell(run(detail, NOTE + 0.5, p.muted), align="left")] if detail else []
        return {
            "label": f"<{table(row(*cells), cellpadding=3)}>",
            "labeljust": "l",
            "style": "rounded,filled",
            "fillcolor": p.modules[(call.depth + 1) % 2],
            "color": p.module_border,
            "margin": "12",
            "id": f"m{call.number}",
            "tooltip": _hint(f"{path} {call.label}".strip()),
        }
