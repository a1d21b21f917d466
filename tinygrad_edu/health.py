"""How a model feels: one row for each layer, with the size of its weights, gradients, steps and outputs.

As the doctor, it runs the backward pass once more and changes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_edu import gates
from tinygrad_edu.autograd import backward_order, state, sweep
from tinygrad_edu.nn.module import Module, Parameter
from tinygrad_edu.optim import Optimizer
from tinygrad_edu.tensor import Tensor


@dataclass(frozen=True)
class Row:
    """One layer: a module that has parameters of its own. None stands where there is nothing to measure."""

    path: str
    label: str
    weight: float  # the norm of its parameters
    gradient: float | None  # the norm of their gradients; None where none arrives
    ratio: float | None  # how far the next step moves them, or else their gradient, for each unit of their own norm
    output: float | None  # the root mean square of its output
    dead: float | None  # the share of its units that the ReLU behind it shuts for every sample
    saturated: float | None  # the share of its outputs at the flat ends of the activation behind it
    bad: int  # how many of its weights, gradients and outputs are NaN or infinite


@dataclass(frozen=True)
class Health:
    """What `te.health` found: `warnings`, the worst first, and `rows`, one for each layer. Printing shows both."""

    warnings: tuple[str, ...]
    rows: tuple[Row, ...]
    stepped: bool  # whether an optimizer was given, so that each row's ratio is that of its step

    def __str__(self) -> str:
        ratio = "step/w" if self.stepped else "grad/w"
        table = [["layer", "weight", "grad", ratio, "output", "dead", "sat.", "bad"]]
        for row in self.rows:
            sizes = (row.weight, row.gradient, row.ratio, row.output)
            cells = ["-" if x is None else f"{x:.2g}".replace("nan", "NaN") for x in sizes]
            cells += ["-" if share is None else f"{share:.0%}" for share in (row.dead, row.saturated)]
            table.append([_short(f"{row.path} {row.label}".strip(), 30), *cells, str(row.bad or "-")])
        width = max(len(name) for name, *_ in table)
        lines = [f"! {warning}" for warning in self.warnings] or ["No warnings."]
        for name, *texts in table:
            lines.append(f"{name:<{width}}" + "".join(f"{x:>{8 if i < 4 else 5}}" for i, x in enumerate(texts)))
        return "\n".join(lines)

    __repr__ = __str__


def health(model: Module, loss: Tensor, optimizer: Optimizer | None = None) -> Health:
    """A table of the layers of a model in the state that gave this loss, warnings first.

    weight, grad: norms of all parameters of the layer and of their gradients. step/w: how far the optimizer's next step
    moves them, divided by their norm, about 1e-3 in a run that goes well; grad/w where no optimizer is given. output:
    the root mean square of what the layer puts out. dead: units that the ReLU behind the layer shuts for every sample.
    sat.: outputs at the flat ends of a sigmoid, tanh or softmax. bad: numbers that are NaN or infinite.
    Asked between backward() and the step, it also notices a forgotten zero_grad().

    Ask before the optimizer's step: afterwards the values are others (GraphError).

    >>> import tinygrad_edu as te
    >>> from tinygrad_edu import nn, optim
    >>> te.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> optimizer = optim.Adam(model.parameters(), lr=1e-3)
    >>> loss = model(te.Tensor([[1.0, 2.0], [3.0, -1.0]])).square().mean()
    >>> te.health(model, loss, optimizer).rows[1].path
    '2'
    """
    for name, value, kind in (("model", model, Module), ("loss", loss, Tensor), ("optimizer", optimizer, Optimizer)):
        if not isinstance(value, kind) and not (value is None and name == "optimizer"):
            got = f"the class {value.__name__}" if isinstance(value, type) else f"{type(value).__name__} {value!r:.40}"
            article = "an" if kind is Optimizer else "a"
            raise TypeError(f"health: {name} must be {article} {kind.__name__}, got {got}")
    gradients: dict[Any, Any] = {}
    with np.errstate(all="ignore"):
        seed = np.ones_like(loss.data) if loss.size != 1 else None
        for _ in sweep(loss, seed, gradients=gradients):
            pass
        layers = {
            path: (module, list(own))
            for path, module in model.named_modules()
            if (own := [x for x in vars(module).values() if isinstance(x, Parameter)])
        }
        graph = _Graph(loss, [own for _, own in layers.values()])
        moved = _steps(optimizer, gradients) if optimizer is not None else gradients
        rows = tuple(
            _row(path, module, graph, number, gradients, moved)
            for number, (path, (module, _)) in enumerate(layers.items())
        )
        found = _warnings(rows, layers, optimizer, _added_up(loss, gradients))
        return Health(tuple(found), rows, optimizer is not None)


class _Graph:
    """The ops of the loss, and which of them belong to which layer."""

    def __init__(self, loss: Tensor, parameters: list[list[Parameter]]) -> None:
        self.parameters = parameters
        owners = {p: number for number, own in enumerate(parameters) for p in own}
        self.layer: dict[Any, int] = {}  # the layer whose parameter an op reads
        self.activations: dict[int, list[Any]] = {}  # behind each layer
        for node in sorted(backward_order([loss]), key=lambda x: x.time):
            for x in node.inputs:
                if isinstance(x, Parameter) and x in owners:
                    self.layer[node] = owners[x]
            if gates.can_shut(node.op):
                self.activations.setdefault(self._behind(node), []).append(node)

    def _behind(self, node: Any) -> int:
        """The layer that the input of an op comes from; -1 where there is none."""
        waiting = list(node.inputs)
        seen: set[int] = set()
        while waiting:
            x = waiting.pop(0)
            if x in self.layer:
                return self.layer[x]
            if id(x) not in seen:
                seen.add(id(x))
                waiting += getattr(x, "inputs", ())
        return -1

    def outputs(self, number: int) -> list[Any]:
        """What the layer put out, once for each call."""
        return [node for node, layer in self.layer.items() if layer == number]


def _row(
    path: str, module: Module, graph: _Graph, number: int, gradients: dict[Any, Any], moved: dict[Any, Any]
) -> Row:
    own, outputs = graph.parameters[number], [node.data for node in graph.outputs(number)]
    arrived = [gradients[p] for p in own if p in gradients]
    weight = _norm([p.data for p in own])
    shares = _shares(graph.activations.get(number, []))
    everything = [*(p.data for p in own), *arrived, *outputs]
    return Row(
        path=path,
        label=module.label().replace("→", "->").replace("×", "x"),
        weight=weight,
        gradient=_norm(arrived) if arrived else None,
        ratio=_norm([moved[p] for p in own if p in moved]) / weight if arrived and weight else None,
        output=_norm(outputs) / max(1, sum(x.size for x in outputs)) ** 0.5 if outputs else None,
        dead=shares.get("dead"),
        saturated=shares.get("saturated"),
        bad=sum(int(np.count_nonzero(~np.isfinite(x))) for x in everything),
    )


def _shares(activations: Iterable[Any]) -> dict[str, float]:
    """Which share of the units is dead, in every sample of every call, and which share of all outputs is saturated."""
    masks: dict[str, list[Any]] = {}
    for node in activations:
        kind, mask = gates.shut(node.op, node.data, node.options)
        units = mask.shape[-1] if mask.ndim else 1
        masks.setdefault(kind, []).append(mask.reshape(-1, units))  # (..., F) -> (N, F)
    found = {}
    for kind, several in masks.items():
        if kind == "dead" and len({mask.shape[1] for mask in several}) == 1:
            found[kind] = float(np.mean(np.concatenate(several).all(axis=0)))
        else:
            found[kind] = float(np.mean(np.concatenate([mask.ravel() for mask in several])))
    return found


def _steps(optimizer: Optimizer, gradients: dict[Any, Any]) -> dict[Any, Any]:
    """How far the optimizer's next step would move each parameter, found on a copy."""
    trial = copy.deepcopy(optimizer)
    pairs = [
        pair
        for group, twin in zip(optimizer.groups, trial.groups, strict=True)
        for pair in zip(group["params"], twin["params"], strict=True)
    ]
    for p, twin in pairs:
        twin.grad = Tensor(gradients[p]) if p in gradients else None
    trial.step()
    return {p: twin.data - p.data for p, twin in pairs}


# Warnings ------------------------------------------------------------------------------------------------------------


def _warnings(
    rows: tuple[Row, ...], layers: dict[str, Any], optimizer: Optimizer | None, general: list[str]
) -> list[str]:
    """What is wrong, the worst first."""
    found = [(1, words) for words in general]
    held = {p for group in optimizer.groups for p in group["params"]} if optimizer is not None else set()
    for row in rows:
        own = {p for p in layers[row.path][1] if p.requires_grad}
        complaints = [*_complaints(row, not own, bool(own & held))]
        if optimizer is not None and own - held:
            words = f"the optimizer holds {len(own & held)} of its {len(own)} parameters: the others stay as they are"
            complaints.append((1, words))
        found += [(rank, f"{row.path or row.label}: {words}") for rank, words in complaints]
    sizes = {row.path or row.label: row.gradient for row in rows if row.gradient and np.isfinite(row.gradient)}
    if sizes:
        least, most = min(sizes, key=lambda k: sizes[k]), max(sizes, key=lambda k: sizes[k])
        if sizes[most] > 1e4 * sizes[least]:
            found.append((4, f"gradients differ {sizes[most] / sizes[least]:.0e}-fold, from {least} to {most}"))
    shown = []
    for rank in sorted({rank for rank, _ in found}):
        alike = [words for other, words in found if other == rank]
        shown += alike[:3] + ([f"... and {len(alike) - 3} more layers like these"] if len(alike) > 3 else [])
    return shown


def _complaints(row: Row, frozen: bool, stepped: bool) -> Iterable[tuple[int, str]]:
    """What is wrong with one layer, each with a rank: 0 is worst."""
    if row.bad:
        yield 0, f"{row.bad} numbers are NaN or infinite; te.why(parameter, loss) finds the first"
    if row.gradient is None and not frozen:
        yield 1, "gets no gradient; te.why(parameter, loss) says why"
    elif row.gradient == 0:
        yield 1, "its gradient is exactly 0; te.why(parameter, loss) says why"
    if (row.dead or 0) >= 0.5:
        yield 2, f"{row.dead:.0%} of its units are dead: their ReLU is closed for every sample"
    if (row.saturated or 0) >= 0.5:
        yield 2, f"{row.saturated:.0%} of its outputs saturate the activation behind it"
    if stepped and row.ratio is not None and row.ratio > 0.2:
        yield 3, f"a step moves it by {row.ratio:.0%} of its norm: lower the learning rate"
    if stepped and row.gradient and row.ratio is not None and row.ratio < 1e-6:
        yield 5, f"a step moves it by only {row.ratio:.0e} of its norm: the learning rate or the gradient is too small"


def _added_up(loss: Any, gradients: dict[Any, Any]) -> list[str]:
    """Whether backward() on this loss added to gradients of earlier passes: a forgotten zero_grad(), or on purpose.

    Clipping and scaling down, which are no mistake, leave each element between 0 and what this pass brings.
    """
    if state.last_root.get()() is not loss:  # whatever .grad holds may still be forgotten before backward()
        return []
    more = 0
    for p, gradient in gradients.items():
        if isinstance(p, Parameter) and p._grad is not None:
            slack = 1e-3 * np.abs(gradient) + 1e-6 * np.max(np.abs(gradient), initial=0.0)
            low, high = np.minimum(gradient, 0) - slack, np.maximum(gradient, 0) + slack
            more += bool(np.any((p._grad.data < low) | (p._grad.data > high)))
    if not more:
        return []
    return [
        f".grad of {more} parameters holds more than this backward(): call zero_grad() before it, unless gradients are "
        "added up on purpose"
    ]


def _norm(arrays: Iterable[Any]) -> float:
    """The norm of all numbers in several arrays."""
    return float(np.sqrt(sum(float(np.sum(np.square(np.asarray(x, np.float64)))) for x in arrays)))


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 2] + ".."
