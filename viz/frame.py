"""The frame of every card: where its lines come in, what is in it, where they leave."""

from __future__ import annotations

from viz import text
from viz.html import cell, row, run, table
from viz.palette import FORMULA, NOTE, NUMBER, Palette, Style
from viz.parts import Card, Edge, Flag, Fold, Link, View

SHOWN_USES = 4  # a value with more lines gets an alias card at each use: Graphviz cannot route so many


def assemble(inputs: list[str], middle: list[str], outputs: list[str], style: Style, **attributes: object) -> str:
    """Inputs (cells) where values come in, outputs (cells) where they leave: above and below, or left and right."""
    attributes = {"border": 1, "style": "rounded", "cellpadding": 1} | attributes
    body = [cell(part) for part in middle]
    if not style.down:
        sides = [table(*map(row, part), cellspacing=4) for part in (inputs, body, outputs) if part]
        return table(row(*map(cell, sides)), **attributes)
    wide = len(inputs) or 1
    rows = [row(*inputs)] if inputs else []
    rows += [row(cell(part, colspan=wide)) for part in middle]
    return table(*rows, row(cell(table(row(*outputs), cellspacing=2), colspan=wide)), **attributes)


def docked(lines: list[str], strip: str, style: Style, *, first: bool) -> str:
    """Cells under each other, with the ports on the side that faces the other card."""
    if style.down:
        rows = [row(line) for line in lines]
        return table(*([row(cell(strip)), *rows] if first else [*rows, row(cell(strip))]), cellpadding=1)
    dock = cell(strip, rowspan=len(lines))
    top = row(dock, lines[0]) if first else row(lines[0], dock)
    return table(top, *map(row, lines[1:]), cellpadding=1)


def strip(port: str, style: Style) -> str:
    """Two adjacent ports, 18 points each: the value's line and the gradient's stay side by side."""
    long, thin = (18, 2) if style.down else (2, 18)
    ends = [cell(port=f"{port}{end}", fixedsize="true", width=long, height=thin) for end in "fb"]
    if style.down:
        return table(row(*ends), fixedsize="true", width=36, height=2)
    return table(*map(row, ends), fixedsize="true", width=2, height=36)


def outlets(node: Card | Fold, view: View, style: Style) -> list[str]:
    """Where values leave and gradients arrive: one place, or a cell for each of several uses, added up."""
    links = view.uses[node.id]
    if len(links) < 2 or len(links) > SHOWN_USES:
        return [cell(strip("o", style))]
    p, places = style.palette, []
    added = isinstance(node, Card) or len({edge.source for link in links for edge in link.edges}) == 1
    for number, link in enumerate(links):
        contribution = link.contribution
        arrived = "–" if contribution is None else text.magnitude(contribution)
        lines = [
            cell(run(f"from {view.name(link.target)}", NOTE, p.muted)),
            cell(run(arrived, NUMBER, p.gradient, bold=True, mono=True)),
        ]
        if number:
            places.append(cell(run("+" if added else " ", NUMBER, p.muted)))
        place = docked(lines, strip(f"u{number}", style), style, first=False)
        look = {"id": f"u-{link.id}", "tooltip": link_hint(link), "bgcolor": p.gradient_tint, "width": 56}
        places.append(cell(place, **look))
    return places


def line(content: str, color: str) -> str:
    """A line of small text."""
    return table(row(cell(run(content, NOTE, color), align="left", cellpadding=2)))


def warnings(node: Card | Fold, view: View, p: Palette) -> list[str]:
    """The flags of a node, and of a card its note: a sign and words on a strip."""
    words = [flag.words if isinstance(node, Card) else _whose(flag) for flag in view.flags(node)]
    words += [node.note] if isinstance(node, Card) and node.note else []
    return [warning(line, p) for line in words]


def warning(words: str, p: Palette) -> str:
    """A strip with a warning."""
    shown = cell(run(f"⚠ {words}", NOTE, p.warning), align="left", width=text.wide(words, NOTE), cellpadding=4)
    return table(row(shown), bgcolor=p.warning_tint)


def _whose(flag: Flag) -> str:
    return f"{flag.card.name}: {flag.words}" if flag.card is not None else flag.words


def edge_hint(edge: Edge) -> str:
    """One edge in words: the rule, and what it passes on."""
    passed = f"; passes on {text.statistics(edge.contribution)}" if edge.contribution is not None else ""
    return (edge.rule or edge.note) + passed


def link_hint(link: Link) -> str:
    """One line in words: what is passed back along it."""
    if isinstance(link.target, Card):
        return edge_hint(link.edges[0])
    passed = link.contribution
    return f"{len(link.edges)} uses" + (f"; together {text.statistics(passed)}" if passed is not None else "")


def alias_card(link: Link, view: View, style: Style) -> str:
    """Stands for a value that is used too often to draw a line to each use."""
    p, node = style.palette, link.source
    kind = f"{node.kind if node.kind != 'op' else node.op}, " if isinstance(node, Card) else ""
    uses = f"{kind}one of {len(view.uses[node.id])} uses"
    rows = [row(cell(run(f"↳ {view.name(node)}", FORMULA, p.ink, bold=True), align="left", cellpadding=3))]
    rows.append(row(cell(run(uses, NOTE, p.muted), align="left")))
    look = {"color": p.border, "bgcolor": p.input_tint, "cellspacing": 2}
    return assemble([], [table(*rows)], [cell(strip("o", style))], style, **look)
