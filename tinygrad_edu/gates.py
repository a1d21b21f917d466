"""Gates: how one op lets no gradient, or hardly any, through. Each explanation is about one edge, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_edu.autograd import Step
from tinygrad_edu.autograd import describe as describe_value
from tinygrad_edu.ops.op import Op, describe


class Gate(NamedTuple):
    """One edge on which the chain rule was applied, as arrays."""

    op: Op
    index: int  # type: ignore[assignment]  # which input
    g: Any  # the gradient that arrives
    y: Any  # the output
    inputs: tuple[Any, ...]  # arrays, numbers and None
    options: dict[str, Any]
    makers: tuple[str, ...]  # the ops that made the inputs, in words; empty for a leaf

    @property
    def x(self) -> Any:
        """The input on this edge."""
        return self.inputs[self.index]


def explain(step: Step) -> str:
    """Why so little of the gradient that arrived at an op reached one of its inputs; nothing where that is unknown."""
    inputs = tuple(x if x is None else np.asarray(getattr(x, "_data", x)) for x in step.output.inputs)
    y = np.asarray(step.output._data)
    makers = tuple(describe_value(x) if getattr(x, "op", None) is not None else "" for x in step.output.inputs)
    gate = Gate(step.op, step.index, np.asarray(step.upstream), y, inputs, step.output.options, makers)
    known = _EXPLANATIONS.get(step.op.name)
    return known(gate) if known else ""


def can_shut(op: Op | None) -> bool:
    """Whether this is an activation that `shut` knows."""
    return op is not None and op.name in ("relu", "sigmoid", "tanh", "softmax", "attention_weights")


def shut(op: Op, y: Any, options: dict[str, Any]) -> tuple[str, Any]:
    """Which elements of an activation let (almost) nothing through, and whether that is called dead or saturated."""
    if op.name == "relu":
        return "dead", y <= 0
    if op.name == "sigmoid":
        return "saturated", y * (1 - y) < 0.0025  # a hundredth of the largest slope
    if op.name == "tanh":
        return "saturated", 1 - np.square(y) < 0.01
    largest = np.max(y, axis=options.get("axis", -1), keepdims=True, initial=0)
    return "saturated", np.broadcast_to(largest > 0.999, y.shape)


# One sentence for each way to be shut --------------------------------------------------------------------------------


def _share(mask: Any) -> str:
    """`3 of 32`."""
    return f"{np.count_nonzero(mask)} of {np.size(mask)}"


def _range(x: Any) -> str:
    return f"from {np.min(x):.4g} to {np.max(x):.4g}" if np.size(x) else "empty"


def _relu(gate: Gate) -> str:
    closed = gate.y <= 0
    if closed.all():
        return f"every ReLU gate is closed: none of its {closed.size} inputs is above 0 (they run {_range(gate.x)})"
    if not np.any(gate.g * ~closed):
        return f"{_share(closed)} ReLU gates are closed, among them each at which a gradient arrives"
    return f"{_share(closed)} ReLU gates are closed" if closed.any() else ""


def _saturating(gate: Gate) -> str:
    _, flat = shut(gate.op, gate.y, gate.options)
    if not flat.any():
        return ""
    which = f"all {flat.size} of its outputs are" if flat.all() else f"{_share(flat)} of its outputs are"
    return f"saturated: {which} at its flat ends (the inputs run {_range(gate.x)})"


def _softmax(gate: Gate) -> str:
    axis = gate.options.get("axis", -1)
    if np.sum(np.ones_like(gate.y), axis=axis).max(initial=0) == 1:
        return "a softmax over an axis of length 1 is the constant 1. Use a sigmoid, or softmax over another axis"
    y = np.exp(gate.y) if gate.op.name == "log_softmax" else gate.y
    masked, largest = ~np.any(y, axis=axis), np.max(y, axis=axis, initial=0)
    if masked.any():
        return f"{_share(masked)} rows are masked throughout: every element is -inf, so the softmax gives zeros"
    if (largest > 0.999).any():
        rows = largest > 0.999
        return f"saturated: in {_share(rows)} rows one element has all the weight (inputs {_range(gate.x)})"
    if gate.op.name == "softmax" and np.allclose(gate.g, np.mean(gate.g, axis=axis, keepdims=True)):
        return "the same gradient arrives at all elements, and those of a softmax always add up to 1"
    return ""


def _attention(gate: Gate) -> str:
    q, k = gate.inputs[:2]
    from_weights = gate.op.name == "attention_weights"
    mask, causal = gate.inputs[2 if from_weights else 3], gate.options["is_causal"]
    may = np.ones((*q.shape[:-1], k.shape[-2]), bool)  # (..., T, S)
    if mask is not None:
        may = may & (mask if mask.dtype == bool else mask > -np.inf)
    may = may & (np.tri(*may.shape[-2:]) == 1) if causal else may
    rows, columns = ~may.any(-1), ~may.any(-2)
    if gate.index < 2 and not from_weights and np.ptp(gate.inputs[2], axis=-2).max(initial=0) == 0:
        return "all values are the same, so that it makes no difference which of them a query attends to"
    if gate.index == 0 and rows.any():
        return f"{_share(rows)} rows are masked throughout: these queries may attend to nothing"
    if gate.index in (1, 2) and not from_weights and columns.any():
        return f"{_share(columns)} columns are masked throughout: no query may attend to these keys"
    if gate.index < 2 and (may.sum(-1) <= 1).all():
        return "every query may attend to one key only, and a softmax over one element is the constant 1"
    return ""


def _other_factor(gate: Gate) -> str:
    """A product, whose slope in one factor is the other one."""
    if gate.index > 1 or np.all(gate.inputs[1 - gate.index]):
        return ""
    other, maker = gate.inputs[1 - gate.index], gate.makers[1 - gate.index]
    name = f"input {1 - gate.index} ({maker or describe(other)})"
    if not np.any(other):
        return f"the other factor, {name}, is 0 throughout"
    return f"the other factor, {name}, is 0 at {_share(other == 0)} places"


def _chosen(taken: Callable[[Gate], Any], verb: str) -> Callable[[Gate], str]:
    """An op that takes some elements of its input and leaves the others."""

    def words(gate: Gate) -> str:
        mask = np.asarray(taken(gate))
        if mask.all():
            return ""
        number = f"only {_share(mask)}" if mask.any() else f"none of {mask.size}"
        return f"{verb.format(number=number)}"

    return words


def _selected(gate: Gate) -> Any:
    taken = np.zeros(gate.x.shape, bool)
    taken[gate.options["index"]] = True
    return taken


def _rows(gate: Gate) -> str:
    unused = np.setdiff1d(np.arange(gate.x.shape[0]), gate.inputs[0])
    if not unused.size:
        return ""
    return f"no id selected {unused.size} of the {gate.x.shape[0]} rows: {listed(unused)}"


def listed(numbers: Any) -> str:
    """The first few of many numbers."""
    return ", ".join(str(n) for n in numbers[:6]) + (", ..." if len(numbers) > 6 else "")


def _cross_entropy(gate: Gate) -> str:
    ignored = gate.inputs[1] == gate.options["ignore_index"]
    if ignored.all():
        return f"every target is ignored ({gate.options['ignore_index']})"
    if not np.any(gate.y):
        return "the loss is 0 already: every answer is right, and certain"
    return ""


def _loss(gate: Gate) -> str:
    return "the prediction equals the target everywhere" if np.array_equal(*gate.inputs[:2]) else ""


def _layer_norm(gate: Gate) -> str:
    if gate.index == 0 and gate.x.shape[-1] == 1:
        return "over an axis of length 1 everything is its own mean, so the result is constant"
    if gate.index == 0 and gate.inputs[1] is not None and not np.any(gate.inputs[1]):
        return "its weight is 0 throughout"
    if gate.index == 0:
        return "what arrives only shifts or scales whole rows, which a layer norm takes out again"
    return "its rows are constant, so that nothing is left of them" if gate.index == 1 else ""


def _spread(gate: Gate) -> str:
    return "all elements are equal, where the slope of the spread is 0" if np.ptp(gate.x) == 0 else ""


def _at_zero(gate: Gate) -> str:
    return "" if np.any(gate.x) else f"its input is 0 throughout, where {gate.op.name} has the slope 0"


def _far_below(gate: Gate) -> str:
    flat = gate.x.size and np.max(gate.x) < -3
    return f"its inputs are far below 0 ({_range(gate.x)}), where it is flat" if flat else ""


_EXPLANATIONS: dict[str, Callable[[Gate], str]] = {
    "relu": _relu,
    **dict.fromkeys(("sigmoid", "tanh"), _saturating),
    **dict.fromkeys(("softmax", "log_softmax"), _softmax),
    **dict.fromkeys(("attention", "attention_weights"), _attention),
    **dict.fromkeys(("mul", "matmul", "dot", "matvec", "vecmat", "outer", "linear"), _other_factor),
    **dict.fromkeys(("abs", "square", "norm", "pow", "power_slope"), _at_zero),
    **dict.fromkeys(("var", "std"), _spread),
    **dict.fromkeys(("elu", "gelu", "gelu_tanh", "silu", "softplus", "exp", "expm1"), _far_below),
    "where": _chosen(
        lambda gate: gate.inputs[0] if gate.index == 1 else ~gate.inputs[0],
        "the condition chooses this input at {number} places",
    ),
    "masked_fill": _chosen(lambda gate: ~gate.inputs[1], "the mask leaves {number} elements as they are"),
    "dropout": _chosen(lambda gate: gate.inputs[1], "dropout keeps {number} elements"),
    "clip": _chosen(lambda gate: gate.x == gate.y, "{number} elements are inside of the bounds of clip"),
    "maximum": _chosen(lambda gate: gate.x == gate.y, "this input is the larger one at {number} places"),
    "minimum": _chosen(lambda gate: gate.x == gate.y, "this input is the smaller one at {number} places"),
    "getitem": _chosen(_selected, "the index selects {number} elements"),
    "embedding": _rows,
    "cross_entropy": _cross_entropy,
    "mse_loss": _loss,
    "layer_norm": _layer_norm,
}
