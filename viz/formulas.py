"""The formulas of a picture, printed by the ops themselves: forward with names, and each rule with what it does."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from functools import cache
from typing import Any

import numpy as np

from tinygrad_edu import functional
from tinygrad_edu.ops.op import Op
from tinygrad_edu.ops.symbolic import Symbol, print_rule, write
from tinygrad_edu.tensor import Tensor
from viz import text
from viz.captions import words
from viz.parts import Card, Edge, Trace

_G = "\ue000"  # stands for the arriving gradient while a rule prints itself: no user's name can be mistaken for it
_GATE = re.compile(r"\[[^\[\]]*\]")  # a condition, such as [a > 0]: 1 where it holds, else 0
_OPPOSITE = str.maketrans("><=≥≤", "≤≥≠<>")
_LONGEST_TITLE = 64
_LONGEST_OPTIONS = 32


# Forward ----------------------------------------------------------------------------------------------------


def write_forward(card: Card, sources: dict[Tensor, Card]) -> None:
    """p = w · x, and the name of the op with its options."""
    op = card.tensor.op
    assert op is not None
    operands = [_named(sources[x]) if isinstance(x, Tensor) else _constant(x) for x in card.tensor.inputs]
    card.formula = f"{card.symbol} = {_dotted(_written(op, operands)[0], card)}"
    card.op = " · ".join([words(op.name).name, *_options(op.name, card.tensor.options)])


def substituted(card: Card) -> str:
    """The right side of a formula with numbers in the place of names, where all of them are numbers; else "".

    >>> import tinygrad_edu as te
    >>> from viz.trace import trace
    >>> substituted(trace(te.Tensor(2.0, requires_grad=True) * -3.0).root)
    '2 · (−3)'
    """
    op = card.tensor.op
    if op is None or np.ndim(card.value) or any(np.ndim(edge.source.value) for edge in card.inputs):
        return ""
    operands = [_constant(x._data if isinstance(x, Tensor) else x) for x in card.tensor.inputs]
    return _dotted(_written(op, operands)[0], card)


def expression(cards: dict[Tensor, Card], root: Tensor) -> str:
    """The whole formula of the root in terms of leaves, where that is short enough to read."""
    written: dict[Tensor, tuple[str, int]] = {}
    for tensor, card in cards.items():
        written[tensor] = _named(card)
        if tensor.op is not None:
            operands = [written[x] if isinstance(x, Tensor) else _constant(x) for x in tensor.inputs]
            formula, bound = _written(tensor.op, operands)
            if len(formula) <= _LONGEST_TITLE:
                written[tensor] = _dotted(formula, card), bound
    card = cards[root]
    if not card.formula or written[root][0] == card.symbol:
        return card.formula or card.name
    return f"{card.symbol} = {written[root][0]}"


def _named(card: Card) -> tuple[str, int]:
    """A name, and how tightly it binds in a formula."""
    return card.symbol, Symbol(card.symbol, None).bound


def _constant(value: Any) -> tuple[str, int]:
    if value is None:
        return "", Symbol("", None).bound
    symbol = Symbol.of(value)
    return symbol.text, symbol.bound


def _written(op: Op, operands: list[tuple[str, int]]) -> tuple[str, int]:
    """The op applied to written operands; an optional operand that was left out (a bias) leaves no trailing sign."""
    formula, bound = write(op, operands)
    if operands[-1][0] == "":
        formula = re.sub(r"(?: \+ |, )+(\)?)$", r"\1", formula)
    return text.tidy(formula), bound


def _dotted(formula: str, card: Card) -> str:
    """Between numbers, ⊙ is the ordinary product."""
    scalars = np.ndim(card.value) == 0 and all(np.ndim(edge.source.value) == 0 for edge in card.inputs)
    return formula.replace("⊙", "·") if scalars else formula


def _options(op: str, options: dict[str, Any]) -> list[str]:
    """The options worth reading: short plain values that somebody chose and that are not off, as many as fit a line."""
    shown: list[str] = []
    for key, value in options.items():
        off = value is False or (isinstance(value, float) and value == 0)
        if isinstance(value, (int, float, str, tuple)) and not off and value != _defaults(op).get(key):
            shown.append(f"{key}={value}")
    return [part for n, part in enumerate(shown) if sum(map(len, shown[: n + 1])) <= _LONGEST_OPTIONS]


@cache
def _defaults(op: str) -> dict[str, Any]:
    """What the options are when the function or method of this name is called without them."""
    public = getattr(functional, op, None) or getattr(Tensor, op, None)
    parameters = inspect.signature(public).parameters if inspect.isfunction(public) else {}
    return {name: parameter.default for name, parameter in parameters.items()}


# Backward ---------------------------------------------------------------------------------------------------


def write_rules(card: Card, result: Trace) -> None:
    """Let the rules of an op print themselves with the names of this picture, and note which values they read."""
    symbols = {edge.index: Symbol(edge.source.symbol, edge.source.value) for edge in card.inputs}
    operands = [symbols.get(index, x) for index, x in enumerate(card.tensor.inputs)]
    times_used = Counter(edge.source.id for edge in card.inputs)
    read: set[str] = set()
    for edge in card.inputs:
        if edge.needs_grad:
            printed = _print(edge, operands)
            write_rule = _write_scalar_rule if edge.scalar else _write_tensor_rule
            write_rule(edge, printed, _side(edge) if times_used[edge.source.id] > 1 else "", result)
            read |= printed.reads
        elif edge.source.tensor.requires_grad:
            edge.note = "not differentiable here"
        else:
            edge.note = f"{edge.source.symbol} needs no gradient"
    values = {edge.source.symbol: edge.source.value for edge in card.inputs} | {card.symbol: card.value}
    if card.tensor.op is not None:
        values |= dict(zip(card.tensor.op.saves, card.tensor.saved, strict=True))
    card.kept = [f"{name} {text.size(value)}" for name, value in values.items() if name in read]


def _print(edge: Edge, operands: list[Any]) -> Symbol:
    """The rule of an edge on symbols; for a rule that cannot run on symbols, the formula its author wrote."""
    tensor = edge.target.tensor
    op = tensor.op
    assert op is not None
    g, y = Symbol(_G, np.ones_like(tensor._data)), Symbol(edge.target.symbol, tensor._data)
    try:
        return print_rule(op, edge.index, g, y, operands, tensor.saved, tensor.options)
    except (TypeError, ValueError, AttributeError):
        authored = op.formula[edge.index] if edge.index < len(op.formula) else f"rule of {op.name}, input {edge.index}"
        return Symbol(re.sub(r"\bG\b", _G, authored), None, reads=frozenset())


def _side(edge: Edge) -> str:
    """Tells the uses apart where one op takes the same tensor more than once."""
    return f" ({('left', 'right')[edge.index]})" if len(edge.target.inputs) == 2 else f" (input {edge.index})"


def _write_scalar_rule(edge: Edge, printed: Symbol, side: str, result: Trace) -> None:
    """∂y/∂x = the local derivative: what the rule prints for an arriving gradient of 1."""
    formula = text.tidy(printed.text).replace(f"expand({_G})", _G)
    local = formula.replace(f"{_G} ⊙ ", "").replace(f" ⊙ {_G}", "").replace(_G, "1").replace("⊙", "·")
    local = re.sub(r"^\(([^()]*)\)$", r"\1", local)
    edge.rule = f"∂{edge.target.symbol}/∂{edge.source.symbol}{side} = {local}"
    if printed.value is not None and not result.stale:
        edge.local = np.asarray(printed.value).reshape(())[()]
        if _GATE.fullmatch(local):
            edge.rule = f"{edge.rule.removesuffix(local)}{_decided(local[1:-1], bool(edge.local))}"


def _decided(condition: str, holds: bool) -> str:
    """A gate whose condition, such as `z > 0`, is known to hold or not."""
    return f"1   (gate open: {condition})" if holds else f"0   (gate closed: {condition.translate(_OPPOSITE)})"


def _write_tensor_rule(edge: Edge, printed: Symbol, side: str, result: Trace) -> None:
    """∂L/∂x = what the rule makes of the arriving gradient G, a broadcast undone."""
    formula = text.tidy(printed.text).replace(_G, "G")
    shape = np.shape(edge.source.value)
    formula, edge.note = _undo_broadcast(formula, shape, shape if printed.value is None else np.shape(printed.value))
    if _GATE.fullmatch(formula.removeprefix("G ⊙ ")) and printed.value is not None and not result.stale:
        edge.gate = np.asarray(printed.value) != 0
    edge.note = edge.note or _shape_note(formula, edge)
    edge.rule = f"∂{result.root.symbol}/∂{edge.source.symbol}{side} = {formula}"


def _undo_broadcast(formula: str, shape: tuple[int, ...], wide: tuple[int, ...]) -> tuple[str, str]:
    """How a gradient of shape `wide` is summed to `shape`: the formula with its Σ, and a note; unchanged if it fits."""
    if shape == wide:
        return formula, ""
    extra = len(wide) - len(shape)
    axes = [axis for axis, length in enumerate(wide) if axis < extra or shape[axis - extra] != length]
    count = int(np.prod([wide[axis] for axis in axes]))
    over = f"over {'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}: {count} terms"
    if len(axes) == len(wide):
        over = f"over all {count} elements"
    elif len(wide) == 2:
        over = f"over {count} {('rows', 'columns')[axes[0]]}"
    summand = formula if re.fullmatch(r"\w+", formula) else f"({formula})"
    return f"Σ {summand} {over}", f"undo the broadcast {shape} → {wide}"


def _shape_note(formula: str, edge: Edge) -> str:
    """What a rule does to the arriving gradient, in words or shapes."""
    if formula == "G":
        return "passes unchanged"
    if edge.gate is not None:
        closed = int(np.sum(~edge.gate))
        return f"{closed} of {edge.gate.size} gates are closed: no gradient passes there"
    arriving, source = np.shape(edge.target.value), np.shape(edge.source.value)
    shapes = {e.source.symbol: np.shape(e.source.value) for e in edge.target.inputs} | {"G": arriving}
    factors = [_factor_shape(part, shapes) for part in formula.split(" · ")]
    if len(factors) == 2 and None not in factors:
        return f"{factors[0]} · {factors[1]} → {source}"
    mixing = re.search(r"Σ|\w\(", formula)  # a sum or another function, which may look at several elements
    if arriving == source and "⊙" in formula and not mixing:
        return f"element by element {source}"
    return f"G {arriving} → {source}"


def _factor_shape(part: str, shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...] | None:
    shape = shapes.get(part.removesuffix("ᵀ"))
    if shape is None or not part.endswith("ᵀ"):
        return shape
    return (*shape[:-2], *shape[:-3:-1])
