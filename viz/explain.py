"""`viz.explain`: the derivation of one gradient in words, factor by factor and path by path."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_edu.ops.symbolic import Symbol, print_rule
from tinygrad_edu.tensor import Tensor
from viz import latex, text
from viz.derivation import Derivation, Factor
from viz.parts import Card, Edge
from viz.trace import trace

_LARGE = "\ue001"  # stands for an array with too many numbers to print


@dataclass(frozen=True)
class _Line:
    """One factor ∂z/∂p: what it is in symbols and in numbers, its value, and the op."""

    factor: str
    rule: str
    numbers: str
    value: str
    op: str


@dataclass(frozen=True)
class _Part:
    """One path, or one card where paths meet: a heading, its lines, and what they come to."""

    heading: str
    lines: list[_Line]
    result: str


@np.errstate(all="ignore")  # whatever the user's own pass already warned about
def explain(root: Tensor, tensor: Tensor, format: str = "text", *, names: Mapping[str, Any] | None = None) -> str:
    """Derive the gradient of `root` in `tensor` by the chain rule: symbols first, then (once `backward()` ran) numbers.

    Between scalars a path is a product of local derivatives, ∂L/∂w = ∂L/∂y · ∂y/∂z · ∂z/∂w. Between tensors each line
    is a vector-Jacobian product: G stands for the gradient on the line above. Several paths are derived one by one and
    added; where there are too many to list, the gradient is followed card by card, and added up where uses meet.

    format: "text", "markdown" (a table), or "latex" (an `aligned` environment). names: as for `viz.draw`.
    Raises TypeError if either is no Tensor, ValueError for another format or if no gradient flows to `tensor`.

    >>> from tinygrad_edu import Tensor
    >>> w, x = Tensor(3.0, requires_grad=True, name="w"), Tensor(-2.0, name="x")
    >>> L = (w * x).relu()
    >>> L.backward()
    >>> print(explain(L, w))
    ∂L/∂w = 0   (L = relu(w · x))
    <BLANKLINE>
    One path leads from L to w. Its local derivatives are multiplied:
    <BLANKLINE>
          ∂L/∂L                      = 1   start
        × ∂L/∂h  gate closed: h ≤ 0  = 0   relu
        × ∂h/∂w  x                   = −2  multiply
        = ∂L/∂w  1 × 0 × (−2)        = 0
    """
    if format not in ("text", "markdown", "latex"):
        raise ValueError(f"viz.explain: format is 'text', 'markdown' or 'latex', got {format!r}")
    if not isinstance(tensor, Tensor):
        raise TypeError(f"viz.explain: expected a Tensor to derive the gradient of, got {type(tensor).__name__}")
    traced = trace(root, names, tensor)
    derivation = traced.derivation
    assert derivation is not None
    if derivation.paths:
        line = _local if derivation.scalar else _pulled
        parts = [_along(path, line, derivation, number) for number, path in enumerate(derivation.paths, 1)]
    else:
        parts = [_at(card, derivation) for card in derivation.cards[1:]]
    title = _title(derivation)
    if format == "latex":
        return _latex(derivation, parts)
    how = _how(derivation) + (f"; {traced.status}" if traced.status else "")
    if format == "markdown":
        return _markdown(title, how, derivation, parts)
    return _text(f"{title}   ({traced.title})", how, derivation, parts)


# What is said -------------------------------------------------------------------------------------------------------


def _title(derivation: Derivation) -> str:
    target, name = derivation.target, derivation.name
    if target.gradient is None:
        return name
    shape = f", shape {text.size(target.value)}:  " if np.size(target.value) > text.FEW else " = "
    return f"{name}{shape}{_shown(target.gradient)}"


def _how(derivation: Derivation) -> str:
    """What is done to get the gradient."""
    one, ends = derivation.count == 1, f"{derivation.root.symbol} to {derivation.target.symbol}"
    ways = "One path leads" if one else f"{derivation.count:,} paths lead".replace(",", " ")
    if not derivation.paths:
        return f"{ways} from {ends}, too many to list. Card by card, G being the gradient of the card above"
    if derivation.scalar:
        how = "Its local derivatives are multiplied" if one else "Along each, the local derivatives are multiplied"
    else:
        how = "G is the gradient one line above" if one else "Along each, G is the gradient one line above"
    return f"{ways} from {ends}. {how}" + ("" if one else "; then the paths are added")


def _along(path: list[Factor], line: Callable[..., _Line], derivation: Derivation, number: int) -> _Part:
    """One path from the root to the target."""
    root, stations = derivation.root, [factor.edge.source.symbol for factor in path]
    total = path[-1].passed if path else root.gradient
    heading = " ← ".join([*reversed(stations), root.symbol])
    heading = f"Path {number} of {derivation.count}:  {heading}" if derivation.count > 1 else ""
    return _Part(heading, [_start(root), *map(line, path)], "" if total is None else _shown(total))


def _at(card: Card, derivation: Derivation) -> _Part:
    """One card among many paths: what each of its uses sends it, and their sum."""
    lines = [_pulled(Factor(edge, edge.upstream, edge.contribution)) for edge in derivation.leading(card)]
    total = f"{_partial(derivation.root, card)} = the sum" if len(lines) > 1 else ""
    known = f" = {_shown(card.gradient)}" if total and card.gradient is not None else ""
    return _Part(card.formula or card.name, lines, total + known)


def _start(root: Card) -> _Line:
    return _Line(_partial(root, root), "", "", "" if root.gradient is None else _shown(root.gradient), "start")


def _local(factor: Factor) -> _Line:
    """Between scalars: the local derivative, such as ∂p/∂w = x."""
    edge, value = factor.edge, "" if factor.edge.local is None else text.number(factor.edge.local)
    rule = edge.rule.partition(" = ")[2]
    gate = re.fullmatch(r"[01]   \((.*)\)", rule)
    rule = gate[1] if gate else "" if rule == value else rule
    return _Line(_partial(edge.target, edge.source), rule, "", value, edge.target.op)


def _pulled(factor: Factor) -> _Line:
    """Between tensors: what the rule makes of the gradient that arrived."""
    edge = factor.edge
    name, _, rule = edge.rule.partition(" = ")
    known = factor.arriving is not None
    numbers = _in_numbers(edge, factor.arriving) if known else ""
    return _Line(name, rule, numbers, _shown(factor.passed) if known else "", edge.target.op)


def _sum(derivation: Derivation, parts: list[_Part]) -> str:
    """The paths added up, where there are several and their numbers are known."""
    gradient = derivation.target.gradient
    if gradient is None or len(derivation.paths) < 2:
        return ""
    terms = " + ".join(text.bracketed(part.result) for part in parts)
    equation = f"{terms} = {_shown(gradient)}" if np.size(gradient) <= text.FEW else _shown(gradient)
    return f"{derivation.name} = {equation}"


# Numbers in the place of names --------------------------------------------------------------------------------------


def _in_numbers(edge: Edge, arriving: Any) -> str:
    """The rule of an edge with every name replaced by its numbers; "" if one of them has too many."""
    tensor = edge.target.tensor
    op = tensor.op
    assert op is not None
    operands = [_literal(x._data) if isinstance(x, Tensor) else x for x in tensor.inputs]
    try:
        printed = print_rule(
            op, edge.index, _literal(arriving), _literal(tensor._data), operands, tensor.saved, tensor.options
        )
    except (TypeError, ValueError, AttributeError):  # a rule that cannot run on symbols
        return ""
    named = any(name in printed.reads for name in op.saves) or _LARGE in printed.text
    return "" if named or np.shape(printed.value) != edge.source.tensor.shape else text.tidy(printed.text)


def _literal(array: Any) -> Symbol:
    shown = _LARGE if np.size(array) > text.FEW else text.literal(array)
    return Symbol(text.bracketed(shown), array)


def _shown(gradient: Any) -> str:
    return text.literal(gradient) if np.size(gradient) <= text.FEW else text.magnitude(gradient)


def _partial(above: Card, below: Card) -> str:
    return f"∂{above.symbol}/∂{below.symbol}"


def _product(part: _Part) -> str:
    """1 × (−2): the numbers of a scalar path; "" if they are not known."""
    values = [line.value for line in part.lines]
    return " × ".join(map(text.bracketed, values)) if all(values) else ""


# How it is written --------------------------------------------------------------------------------------------------


def _text(title: str, how: str, derivation: Derivation, parts: list[_Part]) -> str:
    blocks = [title, f"{how}:"]
    for part in parts:
        rows = _factors(part, derivation) if derivation.scalar and derivation.paths else _equations(part)
        blocks.append("\n".join(filter(None, [part.heading, *("    " + row for row in rows)])))
    return "\n\n".join(filter(None, [*blocks, _sum(derivation, parts)]))


def _factors(part: _Part, derivation: Derivation) -> list[str]:
    """One factor a line, in columns, the product at the bottom."""
    name = derivation.name if derivation.count == 1 else "this path"
    rows = [("×", line.factor, line.rule, line.value, line.op) for line in part.lines]
    rows = [("", *rows[0][1:]), *rows[1:], ("=", name, _product(part), part.result, "")]
    wide = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"{sign:1} {factor:{wide[1]}}  {rule:{wide[2]}}  {'=' if value else ' '} {value:{wide[3]}}  {op}".rstrip()
        for sign, factor, rule, value, op in rows
    ]


def _equations(part: _Part) -> list[str]:
    """The rule, its numbers, its value: each under the other."""
    rows = []
    for line in part.lines:
        shown = _sides(line)
        first = f"{line.factor} = {shown[0]}" if shown else line.factor
        rows.append(f"{first}   ({line.op})")
        rows += [f"{' ' * len(line.factor)} = {side}" for side in shown[1:]]
    return [*rows, part.result] if part.result.startswith("∂") else rows


def _sides(line: _Line) -> list[str]:
    """What stands after the = signs: the rule, its numbers, its value; none twice."""
    return list(dict.fromkeys(side for side in (line.rule, line.numbers, line.value) if side))


def _markdown(title: str, how: str, derivation: Derivation, parts: list[_Part]) -> str:
    blocks = [f"**{_code(title)}**", f"{how}."]
    for part in parts:
        rows = [[line.factor, line.rule, line.numbers, line.value, line.op] for line in part.lines]
        if derivation.scalar and derivation.paths and _product(part):
            rows.append([derivation.name, _product(part), "", part.result, ""])
        table = "\n".join("| " + " | ".join(map(_code, row)) + " |" for row in rows)
        blocks += [_code(part.heading), "| factor | rule | numbers | value | op |\n|---|---|---|---|---|\n" + table]
        blocks.append(_code(part.result) if part.result.startswith("∂") else "")
    return "\n\n".join(filter(None, [*blocks, _code(_sum(derivation, parts))]))


def _code(words: str) -> str:
    """A code span, also inside a table."""
    return "`" + words.replace("`", "'").replace("|", "\\|") + "`" if words else ""


def _latex(derivation: Derivation, parts: list[_Part]) -> str:
    """Equations aligned at their = signs, one under the other."""
    ends = derivation.root.symbol, derivation.target.symbol
    left = latex.derivative(*ends, r"\mathrm{d}" if derivation.name.startswith("d") else r"\partial")
    if derivation.scalar and derivation.paths:
        sides = [r" \\ &\quad + ".join(_joined(part, side) for part in parts) for side in ("factor", "rule", "value")]
        if derivation.target.gradient is None:
            return latex.aligned([f"{left} &= {sides[0]}", f"&= {sides[1]}"])
        total = latex.formula(_shown(derivation.target.gradient))
        return latex.aligned([f"{left} &= {sides[0]}", *(f"&= {side}" for side in [*sides[1:], total])])
    rows = []
    for part in parts:
        for line in part.lines:
            shown = [latex.formula(side) for side in _sides(line)]
            rows.append(f"{latex.formula(line.factor)} &= {shown[0] if shown else ''}")
            rows += [f"&= {side}" for side in shown[1:]]
        rows += [_at_equals(part.result)] if part.result.startswith("∂") else []
    if _sum(derivation, parts):
        rows.append(_at_equals(_sum(derivation, parts)))
    return latex.aligned(rows)


def _joined(part: _Part, side: str) -> str:
    """The factors of a path side by side: as partial derivatives, as local rules, or as numbers."""
    if side == "factor":
        return r" \cdot ".join(latex.formula(line.factor) for line in part.lines[1:] or part.lines)
    if side == "value":
        return r" \times ".join(latex.formula(text.bracketed(line.value)) for line in part.lines)
    rules = [
        line.value or "1" if line.rule.startswith("gate") else line.rule or line.value or "1" for line in part.lines
    ]
    return r" \cdot ".join(f"({latex.formula(rule)})" if " " in rule else latex.formula(rule) for rule in rules)


def _at_equals(equation: str) -> str:
    name, _, rest = equation.partition(" = ")
    return f"{latex.formula(name)} &= {latex.formula(rest)}"
