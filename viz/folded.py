"""The card of what is folded: how much it is, what it learns, and what becomes of the gradient on its way through."""

from __future__ import annotations

import math
from collections import Counter
from itertools import zip_longest
from typing import Any

from viz import text
from viz.cards import seed_strip
from viz.frame import assemble, line, outlets, strip, warnings
from viz.html import cell, row, run, table
from viz.palette import FORMULA, NOTE, RULE, Palette, Style
from viz.parts import Call, Card, Fold, View
from viz.repeats import ops
from viz.sentences import sentence

ENTRIES = 8  # as many lines come in at places of their own
_KINDS, _PARAMETERS = 5, 16  # as many are listed
_BARS, _NUMBERED, _BAR_HEIGHT, _DECADES = 32, 12, 24, 6


def fold_card(fold: Fold, view: View, style: Style) -> str:
    """▸ path, label; ops and output; gradient norms in and out; the parameters; of a stack, a bar for each module."""
    p = style.palette
    middle = [_head(fold, view, style), _norms(fold, view, p)]
    if fold.kind == "stack" and not view.trace.status:
        middle.append(_bars(fold, view, style))
    if fold.parameters:
        middle.append(_parameters(fold, view, p))
    if fold is view.shown[view.trace.root] and view.trace.seed:
        middle.append(seed_strip(view.trace, p))
    middle += warnings(fold, view, p)
    look = {"color": p.module_border, "bgcolor": p.modules[1], "cellspacing": 3}
    return assemble(_entries(fold, view, style), middle, outlets(fold, view, style), style, **look)


def fold_hint(fold: Fold, view: View) -> str:
    """A fold in words."""
    return sentence("hint", name=f"{view.name(fold)}  {label(fold)}", count=len(fold.cards))


def label(fold: Fold) -> str:
    """What the folded modules say of themselves: Block × 12."""
    units = [unit.label if isinstance(unit, Call) else _kind(unit) for unit in fold.parts[0]]
    if fold.kind == "run":
        calls = [unit for unit in fold.parts[0] if isinstance(unit, Call)]
        return f"{len(calls)} modules" if calls else ""
    once = " + ".join(units)
    if fold.kind == "module":
        return once
    return f"({once}) × {len(fold.parts)}" if len(units) > 1 else f"{once} × {len(fold.parts)}"


def _kind(card: Card) -> str:
    return card.op.partition(" · ")[0]


def _entries(fold: Fold, view: View, style: Style) -> list[str]:
    """A port for each line that comes in; many lines share the last one."""
    return [cell(strip(f"i{number}", style)) for number in range(min(len(view.inputs[fold.id]), ENTRIES))]


def _head(fold: Fold, view: View, style: Style) -> str:
    p = style.palette
    kinds = Counter(_kind(card) for card in fold.cards).most_common()
    listed = [f"{count} {kind}" if count > 1 else kind for kind, count in kinds[:_KINDS]]
    listed += ["…"] if len(kinds) > _KINDS else []
    shapes = list(dict.fromkeys(text.size(card.value) for card in fold.outputs))
    out = ", ".join(shapes[:2]) + (" …" if len(shapes) > 2 else "")
    if fold.kind == "run":
        first, last = fold.cards[0].formula, fold.cards[-1].formula
        words = sentence("run", first=first, last=last, kinds=", ".join(listed), shapes=out)
    else:
        count = len(fold.cards)
        words = sentence("head", count=count, ops="ops" if count > 1 else "op", kinds=", ".join(listed), shapes=out)
    return table(
        row(
            cell(run(text.name(view.name(fold)), FORMULA, p.ink, bold=True), align="left"),
            cell(width=14),
            cell(run(label(fold), NOTE, p.muted), align="right"),
            cell(width=6),
        ),
        row(cell(run(words, NOTE, p.muted), align="left", width=text.wide(words, NOTE), colspan=4)),
        cellpadding=2,
    )


def _norms(fold: Fold, view: View, p: Palette) -> str:
    """The norm of the value, and of the gradient as it comes in and as it goes out."""
    value = text.together(card.value for card in fold.outputs)
    cells = [
        cell(
            run(sentence("value", norm=text.number(value)), RULE, p.value),
            align="left",
            id=f"v-{fold.id}",
            tooltip="value",
        )
    ]
    color, bold = (p.muted, False) if view.trace.status else (p.gradient, True)
    gradient = cell(
        run(ratio(fold, view), RULE, color, bold=bold), align="right", id=f"g-{fold.id}", tooltip="gradient"
    )
    cells += [cell(width=14), gradient, cell(width=8)]
    return table(row(*cells), cellpadding=2)


def ratio(fold: Fold, view: View) -> str:
    """What becomes of the gradient on its way through a fold: `gradient norm 1.09 → 0.809  (×0.742)`."""
    if view.trace.status:
        return f"gradient: {fold.outputs[-1].no_gradient}"
    arriving, leaving = norms(fold, view)
    if arriving is None:
        return "no gradient reached it"
    if leaving is None:
        return sentence("stopped", norm=text.number(arriving))
    share = f"  (×{text.number(leaving / arriving)})" if arriving and math.isfinite(leaving / arriving) else ""
    return sentence("passed", arriving=text.number(arriving), leaving=text.number(leaving) + share)


def norms(fold: Fold, view: View) -> tuple[float | None, float | None]:
    """The norm of the gradient where it arrives, at the outputs of a fold, and of what leaves it, at its inputs."""
    arriving = [card.gradient for card in fold.outputs if card.gradient is not None]
    passed: dict[Card, Any] = {}
    for link in view.inputs[fold.id]:
        for edge in link.edges:
            if edge.contribution is not None:
                known = passed.get(edge.source)
                passed[edge.source] = edge.contribution if known is None else known + edge.contribution
    return (text.together(arriving) if arriving else None), (text.together(passed.values()) if passed else None)


def _bars(fold: Fold, view: View, style: Style) -> str:
    """For each repetition, the gradient that arrives at its output: as a bar, and of a few as a number."""
    p = style.palette
    inner = [
        Fold(fold.id, [part], fold.home, cards=[card for unit in part for card in ops(unit)]) for part in fold.parts
    ]
    found = [text.together(card.gradient for card in part.outputs) for part in inner]
    if not any(found):
        return line(sentence("no_bars"), p.muted)
    largest = max((norm for norm in found if math.isfinite(norm)), default=0.0)
    step = math.ceil(len(found) / _BARS)
    kind, least, most = "some_bars" if step > 1 else "bars", text.number(min(found)), text.number(max(found))
    words = sentence(kind, least=least, most=most, decades=_DECADES, step=step, count=len(found))
    rows = [row(*[_bar(norm, largest, fold, number, view, style) for number, norm in enumerate(found)][::step])]
    if len(found) <= _NUMBERED:
        rows.append(row(*(cell(run(text.number(norm), NOTE, p.gradient, mono=True), width=42) for norm in found)))
    return table(row(cell(run(words, NOTE, p.muted), align="left")), row(cell(table(*rows))), cellpadding=2)


def _bar(norm: float, largest: float, fold: Fold, number: int, view: View, style: Style) -> str:
    """A bar as high as the largest norm's, less a part for each factor of ten below it."""
    p = style.palette
    below = math.log10(largest / norm) if norm > 0 and math.isfinite(norm) else 0.0 if norm else _DECADES
    height = max(1, round(_BAR_HEIGHT * (1 - below / _DECADES)))
    full = cell(fixedsize="true", width=10, height=height, bgcolor=p.gradient)
    rows = [row(full)]
    if height < _BAR_HEIGHT:
        rows.insert(0, row(cell(fixedsize="true", width=10, height=_BAR_HEIGHT - height)))
    body = table(*rows, fixedsize="true", width=12, height=_BAR_HEIGHT + 2)
    first = next(unit for unit in fold.parts[number] if isinstance(unit, Call))
    hint = sentence("bar", path=view.trace.path_of(first), norm=text.number(norm))
    return cell(body, id=f"s-{fold.id}-{number}", tooltip=hint)


def _parameters(fold: Fold, view: View, p: Palette) -> str:
    """Each parameter with its shape and the norm of its gradient; of a stack, those of one place from first to last."""
    groups = _groups(fold, view)
    lines = [_parameter(name, cards, p) for name, cards in list(groups.items())[:_PARAMETERS]]
    half = math.ceil(len(lines) / 2) if len(lines) > 3 else len(lines)
    gap = cell(width=12)
    rows = [
        row(left, gap, right or cell(), gap) if half < len(lines) else row(left, gap)
        for left, right in zip_longest(lines[:half], lines[half:], fillvalue="")
    ]
    if len(groups) > _PARAMETERS:
        rows.append(row(cell(run(sentence("more", count=len(groups) - _PARAMETERS), NOTE, p.muted), align="left")))
    return table(*rows, cellpadding=1)


def _groups(fold: Fold, view: View) -> dict[str, list[Card]]:
    """The parameters by what they are called within the module, of a stack within each of its modules."""
    inside = {card: unit for part in fold.parts for unit in part for card in ops(unit)}
    groups: dict[str, list[Card]] = {}
    for leaf in fold.parameters:
        unit = inside[leaf.uses[-1].target]
        prefix = f"{view.trace.path_of(unit)}." if isinstance(unit, Call) and fold.kind != "run" else ""
        groups.setdefault(leaf.name.removeprefix(prefix), []).append(leaf)
    return groups


def _parameter(name: str, cards: list[Card], p: Palette) -> str:
    shaped = f"{name} {text.size(cards[0].value)}"
    found = [text.norm(card.gradient) for card in cards if card.gradient is not None]
    if not found:
        words = sentence("no_gradient", name=shaped, words=cards[0].no_gradient)
    else:
        several = f" … {text.number(max(found))}" if len(cards) > 1 else ""
        words = sentence("parameter", name=shaped, norm=text.number(min(found)) + several)
    return cell(
        run(words, NOTE, p.value), align="left", width=text.wide(words, NOTE), id=f"p-{cards[0].id}", tooltip=name
    )
