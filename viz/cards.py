"""The cards: what each tensor, op, alias, title and derivation looks like, as HTML-like labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from viz import text
from viz.derivation import Derivation, Factor
from viz.figures import caption, gate_picture, legend, picture
from viz.frame import assemble, docked, edge_hint, line, outlets, strip, warning, warnings
from viz.html import cell, row, run, table
from viz.looks import Look, gradient_look, kept_weights, value_look, weights_look
from viz.palette import FORMULA, NAME, NOTE, NUMBER, RULE, TITLE, Palette, Style
from viz.parts import Card, Edge, Fold, Trace, View
from viz.sentences import sentence
from viz.text import FEW

_SHOWN_TERMS = 6
_SHOWN_FLAGS = 4


# Whole cards ------------------------------------------------------------------------------------------------


def op_card(card: Card, view: View, style: Style) -> str:
    """An op and its output: the local rules where the inputs arrive, then value and gradient, then the uses."""
    p = style.palette
    scalar = np.ndim(card.value) == 0
    middle = [_scalar_body(card, style) if scalar else _tensor_body(card, style)]
    if card.kept and not (scalar and all(edge.scalar for edge in card.inputs)):
        middle.append(line(f"kept for backward:  {',  '.join(card.kept)}", p.muted))
    elif not card.kept and not scalar:
        middle.append(line("kept for backward:  shapes only", p.muted))
    if card is view.trace.root and view.trace.seed:
        middle.append(seed_strip(view.trace, p))
    middle += warnings(card, view, p)
    columns = [_column(edge, style) for edge in card.inputs]
    return assemble(columns, middle, outlets(card, view, style), style, color=p.border, bgcolor=p.card, cellspacing=5)


def leaf_card(card: Card, view: View, style: Style) -> str:
    """A parameter, a variable or data: name, value, gradient."""
    p = style.palette
    color, tint = (p.value, p.parameter_tint) if card.kind == "parameter" else (p.muted, p.input_tint)
    scalar = np.ndim(card.value) == 0
    kind = "   " + card.kind + ("" if scalar else f"  {text.size(card.value)}") + _used(card)
    head = row(
        cell(run(card.name, NAME, p.ink, bold=True), align="left"),
        cell(run(kind, NOTE, color), align="right", colspan=1 if scalar else 2),
    )
    if scalar:
        label, shown = _gradient_texts(card)
        value = row(cell(run("value", NOTE, p.muted), align="left"), _value_cell(card, p))
        gradient = row(cell(run(label, NOTE, p.muted), align="left"), _gradient_cell(card, shown, p))
        middle = [table(head, value, gradient, cellspacing=1, cellpadding=3)]
    else:
        middle = [table(head, cellpadding=2), _pictures(card, style)]
    middle += warnings(card, view, p)
    return assemble([], middle, outlets(card, view, style), style, color=color, bgcolor=tint, cellspacing=2)


def seed_strip(trace: Trace, p: Palette) -> str:
    """Where the backward pass starts."""
    seed = run(f"backward starts here:   {trace.seed}", NUMBER, p.gradient)
    look = {"bgcolor": p.seed, "id": f"seed-{trace.root.id}", "tooltip": trace.seed}
    return table(row(cell(seed, cellpadding=5, **look)))


def title(view: View, heading: str, style: Style) -> str:
    """The heading of a picture: the formula, and what the arrows mean or why there are no gradients."""
    p, trace = style.palette, view.trace
    across = ("↓", "down", "↑", "up") if style.down else ("→", "to the right", "←", "to the left")
    rows = [row(cell(run(heading, TITLE, p.ink, bold=True), align="left", colspan=3))]
    flow = f"{across[0]} values flow {across[1]}" if trace.root.inputs else ""
    values = cell(run(flow, RULE, p.value), align="left")
    if trace.status:
        note = run(trace.status, RULE, p.warning)
    elif trace.root.step is None:
        note = run("a leaf: no op made it", RULE, p.muted)
    else:
        meaning = "arriving gradient × local derivative = gradient passed on"
        if not all(np.ndim(card.value) == 0 for card in trace.cards):
            meaning = f"G = ∂{trace.root.symbol}/∂(this card)"
        note = run(f"{across[2]} gradients flow {across[3]}:  {meaning}", RULE, p.gradient)
    rows.append(row(values, cell(width=22), cell(note, align="left")))
    if style.detailed and any(np.size(card.value) > FEW for card in _cards(view)):
        rows.append(row(cell(legend(p), align="left", colspan=3)))
    if view.note:
        rows.append(row(cell(run(f"▸ {view.note}", RULE, p.ink), align="left", colspan=3)))
    rows += [row(cell(warning(words, p), align="left", colspan=3)) for words in _collected(view)]
    rows.append(row(cell(height=8)))
    return table(*rows, cellpadding=2)


def _collected(view: View) -> list[str]:
    """The flags of the whole picture, each with the card that has it; of many the first, and of those in one fold."""
    places: dict[int, list[str]] = {}
    for flag in view.trace.flags:
        node = view.shown[flag.card] if flag.card is not None else None
        words = f"{view.name(node)}: {flag.words}" if node is not None else flag.words
        places.setdefault(id(node) if isinstance(node, Fold) else id(flag), []).append(words)
    lines = [
        sentence("several", words=same[0], count=len(same) - 1) if len(same) > 1 else same[0]
        for same in places.values()
    ]
    return lines[:_SHOWN_FLAGS] + (
        [sentence("more", count=len(lines) - _SHOWN_FLAGS)] if len(lines) > _SHOWN_FLAGS else []
    )


def _cards(view: View) -> list[Card]:
    return [node for node in view.nodes if isinstance(node, Card)]


def derivation_card(derivation: Derivation, style: Style) -> str:
    """The chain rule for one tensor: one factor a line, the product at the bottom; several paths beside each other."""
    p, target, paths = style.palette, derivation.target, derivation.paths
    rows = [row(cell(run(f"The chain rule for {target.name}", FORMULA, p.ink, bold=True), align="left"))]
    across = 3 if derivation.scalar else 1
    for first in range(0, len(paths), across):
        columns = [_path(paths[n], n, derivation, p) for n in range(first, min(first + across, len(paths)))]
        rows.append(row(cell(table(row(*(cell(column, valign="top") for column in columns)), cellspacing=4))))
    if not paths:
        many = f"{derivation.count:,} paths lead there: at each fan-out their gradients are added (thick: the largest)"
        rows.append(row(cell(run(many.replace(",", " "), NOTE, p.muted), align="left")))
    terms = [text.factor(path[-1].passed) for path in paths] if len(paths) > 1 and derivation.scalar else []
    total = f"{' + '.join(terms)} = " if terms else ""
    result = [
        cell(run("=", RULE, p.muted), align="right"),
        cell(run(derivation.name, RULE + 1, p.gradient, bold=True), align="left"),
        cell(run(total + text.magnitude(target.gradient), NUMBER, p.gradient, bold=True, mono=True), align="right"),
    ]
    rows += ["<hr/>", row(cell(table(row(*result), cellspacing=1, cellpadding=3), align="left"))]
    look = {"border": 1, "style": "rounded", "color": p.border, "bgcolor": p.modules[0]}
    return table(*rows, cellspacing=1, cellpadding=3, **look)


def _path(path: list[Factor], number: int, derivation: Derivation, p: Palette) -> str:
    """From the root to the target: local derivatives, or for tensors what each rule passes on."""
    rows = []
    if derivation.scalar:
        root = derivation.root
        rows.append(_factor("", f"∂{root.symbol}/∂{root.symbol}", text.number(root.gradient), "start", p))
    for factor in path:
        edge = factor.edge
        if derivation.scalar:
            local = text.factor(edge.local) if edge.local is not None else "?"
            rows.append(_factor("×", f"∂{edge.target.symbol}/∂{edge.source.symbol}", local, _reason(edge), p))
        else:
            rows.append(_factor("", edge.rule, text.magnitude(factor.passed), edge.target.op, p))
    if derivation.count > 1:
        heading = run(f"path {number + 1} of {derivation.count}", NOTE, p.muted)
        rows.insert(0, row(cell(heading, align="left", colspan=4)))
        longest = max(map(len, derivation.paths))
        rows += [_factor("", "", "", "", p)] * (longest - len(path) if derivation.scalar else 0)
    return table(*rows, cellspacing=1, cellpadding=3)


# Their parts ------------------------------------------------------------------------------------------------


def _column(edge: Edge, style: Style) -> str:
    """What happens to the gradient on its way to one input: the rule and its numbers."""
    p = style.palette
    lines = [cell(run(edge.note, NOTE, p.muted), cellpadding=4)]
    if edge.rule:
        lines = [cell(run(edge.rule, RULE, p.ink), cellpadding=3), cell(_numbers(edge, p), cellpadding=4)]
    tint = p.gradient_tint if edge.needs_grad else p.input_tint
    body = docked(lines, strip(f"i{edge.index}", style), style, first=True)
    return cell(body, bgcolor=tint, width=130, id=f"c-{edge.id}", tooltip=edge_hint(edge))


def _numbers(edge: Edge, p: Palette) -> str:
    """1 × (−2) = −2 between scalars; for tensors, what happens to the shapes."""
    if not edge.scalar:
        return run(edge.note, NOTE, p.gradient)
    if edge.contribution is None:
        return run("not run" if edge.local is not None else "no number", NOTE, p.muted)

    def mono(content: str, color: str, bold: bool = False) -> str:
        return run(content, RULE, color, bold=bold, mono=True)

    local = text.factor(edge.local) if edge.local is not None else "?"
    return (
        mono(text.factor(edge.upstream), p.gradient, True)
        + mono(" × ", p.muted)
        + mono(local, p.ink)
        + mono(" = ", p.muted)
        + mono(text.number(edge.contribution), p.gradient, True)
    )


def _scalar_body(card: Card, style: Style) -> str:
    p = style.palette
    label, shown = _gradient_texts(card)
    work = _work(card) + ("" if all(edge.scalar for edge in card.inputs) else " · ()")
    top = [
        cell(run(card.formula, FORMULA, p.ink, bold=True), align="left", width=max(118, 136 * len(card.inputs) - 106)),
        cell(width=8),
        cell(run("value", NOTE, p.muted), align="right", width=42),
        _value_cell(card, p),
    ]
    bottom = [
        cell(run(work, NOTE, p.muted), align="left"),
        cell(),
        cell(run(label, NOTE, p.muted), align="right"),
        _gradient_cell(card, shown, p),
    ]
    return table(row(*top), row(*bottom), cellpadding=2)


def _tensor_body(card: Card, style: Style) -> str:
    p = style.palette
    head = row(
        cell(run(card.formula, FORMULA, p.ink, bold=True), align="left"),
        cell(width=14),
        cell(run(f"{_work(card)} · {text.size(card.value)}", NOTE, p.muted), align="right"),
    )
    return table(row(cell(table(head))), row(cell(_pictures(card, style))), cellpadding=2)


def _work(card: Card) -> str:
    step = f" · backward step {card.step}" if card.step is not None else ""
    return f"{card.op}{step}{_used(card)}"


def _used(card: Card) -> str:
    return f" · used {len(card.uses)} times" if len(card.uses) > 1 else ""


def _pictures(card: Card, style: Style) -> str:
    """Value and gradient side by side, with their norms; without a gradient, the reason."""
    p = style.palette
    label, shown = _gradient_texts(card)
    look = value_look(card)
    figures = [_figure("value", card.value, p.value, style, f"v-{card.id}", look)]
    if card.gradient is not None:
        figures.append(_figure(label, card.gradient, p.gradient, style, f"g-{card.id}", gradient_look(look)))
    gates = [edge.gate for edge in card.inputs if edge.gate is not None]
    if gates and style.detailed and gates[0].size > FEW:
        figures.append(_gate(gates[0], card, style))
    under = []  # squares, one for each head, have a row of their own
    if look.heads and style.detailed:
        figures, under = [], figures
    weights = kept_weights(card)
    if weights is not None and style.detailed:
        words = "attention weights: row = query, column = key"
        under.append(_figure(words, weights, p.value, style, f"w-{card.id}", weights_look(weights)))
    rows = [row(cell(_side_by_side(part))) for part in (figures, *([one] for one in under)) if part]
    if card.gradient is None:
        rows.append(row(cell(run(f"gradient: {shown}", NOTE, p.muted), id=f"g-{card.id}", cellpadding=6)))
    return table(*rows)


def _side_by_side(figures: list[tuple[str, str, str]]) -> str:
    """Figures beside each other, a gap between them."""
    columns = [column for figure in figures for column in ((cell(width=8),) * 3, figure)][1:]
    return table(*(row(*line) for line in zip(*columns, strict=True)), cellpadding=2)


def _figure(label: str, array: Any, color: str, style: Style, identity: str, look: Look) -> tuple[str, str, str]:
    """A tensor: what it is, its picture, its norm. Three cells under each other."""
    hint = text.statistics(array)
    below = run(caption(array, style, look), NOTE, color, mono=True)
    return (
        cell(run(label, NOTE, style.palette.muted)),
        cell(picture(array, color, style, look), id=identity, tooltip=hint),
        cell(below, id=f"n{identity}", tooltip=hint),
    )


def _gate(gate: np.ndarray, card: Card, style: Style) -> tuple[str, str, str]:
    """Where a relu lets the gradient pass, below the same words as a figure."""
    p, passing = style.palette, f"{100 * float(gate.mean()):.3g} % open"
    hint = "light: the gradient passes; dark: it does not"
    return (
        cell(run("gate", NOTE, p.muted)),
        cell(gate_picture(gate, style), id=f"gate-{card.id}", tooltip=hint),
        cell(run(passing, NOTE, p.muted, mono=True)),
    )


def _gradient_texts(card: Card) -> tuple[str, str]:
    """The label and the text of a gradient: a number, a sum over uses, or why there is none."""
    if card.gradient is None:
        return "gradient", card.no_gradient
    terms = [edge.contribution for edge in card.uses if edge.contribution is not None]
    if len(terms) < 2:
        return "gradient", text.number(card.gradient) if np.ndim(card.gradient) == 0 else ""
    if np.ndim(card.gradient):
        return f"gradient = sum over {len(terms)} uses", ""
    shown = [text.factor(term) for term in terms]
    if len(shown) > _SHOWN_TERMS:
        shown = [*shown[: _SHOWN_TERMS - 1], "…"]
    return "gradient = sum over uses", f"{' + '.join(shown)} = {text.number(card.gradient)}"


def _value_cell(card: Card, p: Palette) -> str:
    words = run(text.number(card.value), NUMBER, p.value, mono=True)
    return cell(words, align="right", width=62, id=f"v-{card.id}", tooltip=f"value of {card.name}")


def _gradient_cell(card: Card, shown: str, p: Palette) -> str:
    known = card.gradient is not None
    words = run(shown, NUMBER if known else NOTE, p.gradient if known else p.muted, bold=known, mono=known)
    return cell(words, align="right", id=f"g-{card.id}", tooltip=f"gradient of {card.name}")


def _factor(sign: str, name: str, value: str, note: str, p: Palette) -> str:
    return row(
        cell(run(sign, RULE, p.muted), align="right"),
        cell(run(name, RULE, p.ink), align="left", width=66),
        cell(run(value, NUMBER, p.ink, mono=True), align="right", width=30),
        cell(run(note, NOTE, p.muted), align="left"),
    )


def _reason(edge: Edge) -> str:
    """Where a factor comes from: the op, and its rule unless that is a number, or of a gate the condition."""
    rule = edge.rule.partition(" = ")[2]
    rule = rule.partition("   ")[2] or rule
    return edge.target.op if rule.removeprefix("−").isdecimal() else f"{edge.target.op}:  {rule}"
