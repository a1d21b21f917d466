"""The gradient doctor: why a gradient is None, zero, NaN, tiny or huge, in plain words.

It runs the backward pass once more, along the edges that lead to one tensor, changes nothing, and reads off where the
gradient was lost, was born wrong, shrank or grew.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tinygrad_edu import gates
from tinygrad_edu.anomaly import born_backward, born_forward
from tinygrad_edu.autograd import Step, backward_order, changes, describe, state, sweep
from tinygrad_edu.errors import GraphError
from tinygrad_edu.origins import Cut, cuts, lines, where
from tinygrad_edu.tensor import Tensor

TINY = 1e-7  # root mean square: from here on Adam's eps counts, and float32 weights near 1 no longer change
HUGE = 1e3  # norm: far above the 1 at which gradients are usually clipped
_ROWS = 14  # how many ops of a path are shown


class Passage(NamedTuple):
    """One op on the way from the loss to the tensor, and the norm of the gradient that arrives at its output."""

    op: str
    module: str
    norm: float
    note: str  # what closes it, and the line of the program


@dataclass(frozen=True)
class Diagnosis:
    """What `te.why` found. Printing it shows all of it.

    verdict: "none", "zero", "nan", "infinite", "tiny", "huge", "healthy", or "unknown" where nothing can be seen.
    reasons: why, one sentence each. advice: what to do, if anything.
    path: the ops from the loss to the tensor, along the strongest contributions.
    """

    verdict: str
    summary: str
    reasons: tuple[str, ...] = ()
    advice: str = ""
    path: tuple[Passage, ...] = ()

    def __str__(self) -> str:
        rows = _wrapped(self.summary, "", "")
        for reason in self.reasons:
            first, *rest = reason.split("\n")
            rows += _wrapped(first, "  - ", "    ")
            rows += [row for line in rest for row in _wrapped(line.strip(), "      ", "        ")]
        if self.path:
            rows += ["  The way from the loss, with the norm of the gradient that arrives at each op:"]
            rows += _path_rows(self.path)
        rows += _wrapped(f"What to do: {self.advice}", "  ", "    ") if self.advice else []
        return "\n".join(rows)

    __repr__ = __str__


def why(tensor: Tensor, loss: Tensor | None = None) -> Diagnosis:
    """Say in plain words why the gradient of a tensor is None, zero, NaN, tiny or huge, or that it is healthy.

    loss: where the gradient comes from; by default what this thread last called backward() on, while it is alive.

    Ask between backward() and the optimizer's step: afterwards the values are others. Within te.record_lines() or
    te.detect_anomaly() the forward pass also notes the lines of your program, and where a history was cut off.

    >>> import tinygrad_edu as te
    >>> x = te.Tensor([1.0, 2.0], requires_grad=True)
    >>> loss = (x - 5).relu().sum()
    >>> loss.backward()
    >>> te.why(x)
    The gradient of tensor (2,) (input 0 of sub (2,)) is exactly 0.
      - relu (2,): every ReLU gate is closed: none of its 2 inputs is above 0 (they
        run from -4 to -3)
      What to do: a lower learning rate, smaller initial values or normalised inputs
        keep gates open; so does leaky_relu
    """
    for name, value in (("tensor", tensor), ("loss", loss)):
        if not isinstance(value, Tensor) and not (value is None and name == "loss"):
            raise TypeError(f"why: {name} must be a Tensor, got {type(value).__name__}")
    if not tensor.requires_grad:
        return _not_required(tensor)
    root = state.last_root.get()() if loss is None else loss
    if root is None:
        return _no_loss(tensor)
    if not _depends(root, tensor):
        return _not_reached(tensor, root)
    try:
        with np.errstate(all="ignore"):
            return _examine(tensor, root)
    except GraphError as error:
        summary = f"The backward pass from {describe(root)} does not run (again)."
        reasons = (str(error), *_moved(root), *_known(tensor))
        return Diagnosis("unknown", summary, reasons, "ask between backward() and the optimizer's step()")


# Why there is none ---------------------------------------------------------------------------------------------------


def _not_required(tensor: Tensor) -> Diagnosis:
    summary = f"{_name(tensor)} has no gradient: it does not require one."
    cut = cuts.get(tensor)
    if cut is not None:
        return Diagnosis("none", summary, tuple(_roots_of(cut)), _ADVICE["cut"])
    if tensor.dtype.kind != "f":
        reason = f"it holds {tensor.dtype}: only floats have gradients"
        return Diagnosis("none", summary, (reason,), "write 1.0 instead of 1, or pass dtype=np.float32")
    reason = f"it was made without requires_grad=True{where(tensor)}"
    advice = (
        "Tensor(..., requires_grad=True), nn.Parameter(...), or tensor.requires_grad_() before the forward pass; a "
        "frozen module thaws with module.requires_grad_(). If an op made it, all its inputs were constants"
    )
    return Diagnosis("none", summary, (reason,), advice)


def _no_loss(tensor: Tensor) -> Diagnosis:
    if tensor._grad is None:
        reason = "backward() was not called in this thread, or the loss it was called on is gone"
        return Diagnosis("none", f"{_name(tensor)} has no gradient yet.", (reason,), "pass the loss: te.why(x, loss)")
    verdict = _verdict(tensor._grad.data)
    summary = f"The gradient of {_name(tensor)} is {_words(verdict, tensor._grad.data)}."
    advice = "" if verdict == "healthy" else "pass the loss, te.why(x, loss), to see why"
    return Diagnosis(verdict, summary, ("the loss that it came from is gone",), advice)


def _not_reached(tensor: Tensor, root: Tensor) -> Diagnosis:
    """The graph of the loss does not contain the tensor: look for a cut, then for a copy, at its constants."""
    loss = describe(root) if root.op is not None else f"the loss {root.shape}"
    summary = f"{_name(tensor)} gets no gradient: {loss} does not depend on it."
    nodes = backward_order([root]) if root.requires_grad else []
    constants = [(x, node) for node in nodes for x in node.inputs if _is_constant(x)] or [(root, root)]
    reasons = []
    for constant, user in constants:
        cut = cuts.get(constant)
        if cut is not None:
            reasons += [found for found in _roots_of(cut, tensor) if found not in reasons]
        elif (copied := _copied_from(constant, [tensor, *lines])) is not None:
            reasons.append(_copy_words(copied, tensor, constant, user))
    if reasons:
        return Diagnosis("none", summary, tuple(reasons), _ADVICE["cut"])
    if not nodes:
        reasons = ["the loss depends on nothing that requires a gradient: it comes from constants, or from no_grad"]
    elif root.op is None:
        reasons = [
            "the loss was not computed by ops but made from numbers: .item(), float() or .numpy() lost the graph"
        ]
    floats = [(x, user) for x, user in constants if x.dtype.kind == "f" and x is not root]
    entries = [f"a constant enters: {x.dtype} {x.shape} in {describe(user)}{where(user)}" for x, user in floats]
    reasons += list(dict.fromkeys(entries))[:6]
    advice = "use it in the forward pass. " + _ADVICE["unused"] + ("" if lines.get(root) else _ADVICE["lines"])
    return Diagnosis("none", summary, tuple(reasons) or ("no op of its graph reads it",), advice)


def _depends(root: Tensor, tensor: Tensor) -> bool:
    return root.requires_grad and tensor in set(backward_order([root]))


def _moved(root: Tensor) -> list[str]:
    """How many of the leaves were changed after an op read them, and whether that is what an optimizer does."""
    leaves, moved = set(), set()
    for node in backward_order([root]):
        for x in node.inputs:
            if isinstance(x, Tensor) and x.requires_grad and x.op is None:
                leaves.add(x)
                moved |= {x} if changes.since(x._data, node.time) else set()
    if not moved:
        return []
    words = f"{len(moved)} of the {len(leaves)} leaves of the loss were changed after the forward pass read them"
    stepped = moved == {x for x in leaves if x._grad is not None}
    return [words + (": exactly those with a .grad, which is what optimizer.step() does" if stepped else "")]


def _known(tensor: Tensor) -> list[str]:
    """What can be said of a gradient that was kept."""
    if tensor._grad is None:
        return []
    kept = tensor._grad.data
    return [f"its .grad is still there, and {_words(_verdict(kept), kept)}"]


def _is_constant(x: Any) -> bool:
    return isinstance(x, Tensor) and not x.requires_grad


def _roots_of(cut: Cut, tensor: Tensor | None = None) -> list[str]:
    """The cuts that a constant goes back to: those behind which the tensor lies, or may lie, for all we know."""
    waiting, found = [cut], []
    seen: set[int] = set()
    while waiting:
        cut = waiting.pop()
        waiting += [earlier for earlier in cut.before if id(earlier) not in seen]
        seen.update(map(id, cut.before))
        if not cut.reason:
            continue
        behind = [source() for source in (*cut.sources, *(cut.leaves or ()))]
        if tensor is None or any(x is not None and _depends(x, tensor) for x in behind):
            found.append(str(cut))
        elif None in behind and (cut.leaves is None or tensor.op is not None):
            found.append(f"{cut} (perhaps with this tensor behind it: that part of the graph is gone)")
    return list(dict.fromkeys(found))


def _copied_from(constant: Tensor, candidates: Sequence[Tensor]) -> Tensor | None:
    """A value with a gradient whose array, or whose elements, the constant has: taken out through .data or numpy()."""
    for value in candidates:
        alike = value is not constant and value.requires_grad and value.shape == constant.shape and constant.ndim
        if alike and np.array_equal(value.data, constant.data):
            return value
    return None


def _copy_words(copied: Tensor, tensor: Tensor, constant: Tensor, user: Tensor) -> str:
    whose = "its own values enter" if copied is tensor else f"the values of {describe(copied)}{where(copied)} enter"
    into = f" {describe(user)}{where(user)}" if user is not constant else " the loss"
    return f"{whose}{into} as a constant, as if taken out through .data, .numpy(), .tolist() or Tensor(...)"


# The backward pass, once more ----------------------------------------------------------------------------------------


class Case(NamedTuple):
    """What is known of one gradient."""

    tensor: Tensor
    root: Tensor
    gradient: Any
    steps: list[Step]  # each application of the chain rule on the way to the tensor
    way: list[Step]  # those along the strongest contributions, from the loss to the tensor


def _examine(tensor: Tensor, root: Tensor) -> Diagnosis:
    gradients: dict[Any, Any] = {}
    seed = np.ones_like(root.data) if root.size != 1 else None
    steps = list(sweep(root, seed, inputs=[tensor], gradients=gradients))
    if tensor not in gradients:
        return _not_differentiable(tensor, root)
    case = Case(tensor, root, np.asarray(gradients[tensor]), steps, _strongest(tensor, steps))
    verdict = _verdict(case.gradient)
    verdict = "tiny" if verdict == "healthy" and _sharp(case) else verdict
    reasons, advice = _CAUSES[verdict](case)
    if verdict not in ("nan", "infinite") and not np.isfinite(root.data).all():
        reasons = [f"but the loss itself is no finite number: {_born_in_forward_pass(root)}", *reasons]
    words, name = _words(verdict, case.gradient), _name(tensor, steps)
    path = _passages(case) if verdict in ("tiny", "huge", "healthy") else ()
    missing = _missing(case)
    if missing:
        summary = f"{name} has no .grad: {missing}. The gradient that backward() brings it is {words}."
        return Diagnosis("none", summary, tuple(reasons), advice, path)
    return Diagnosis(verdict, f"The gradient of {name} is {words}.", (*_accumulated(case), *reasons), advice, path)


def _not_differentiable(tensor: Tensor, root: Tensor) -> Diagnosis:
    nodes = backward_order([root])
    uses = [f"input {i} of {describe(n)}{where(n)}" for n in nodes for i, x in enumerate(n.inputs) if x is tensor]
    reason = f"it is {' and '.join(uses)}, in which the op has no derivative"
    advice = "no gradient flows to a target, an index, a mask or a condition: learn what stands in the other input"
    return Diagnosis("none", f"{_name(tensor)} gets no gradient.", (reason,), advice)


def _missing(case: Case) -> str:
    """Why .grad is None although a gradient arrives."""
    if case.tensor._grad is not None:
        return ""
    if case.tensor.op is not None and not case.tensor.retains_grad:
        return (
            "it was made by an op, and keeps its gradient only on request: retain_grad() before backward(). To learn a "
            "tensor, change it in place, w.data -= lr * w.grad.data, so that it stays the leaf it is"
        )
    ran = state.last_root.get()() is case.root
    return "zero_grad() cleared it since backward()" if ran else "backward() was not called on this loss yet"


def _accumulated(case: Case) -> list[str]:
    """Whether .grad is something else than this backward pass brings."""
    assert case.tensor._grad is not None
    kept = case.tensor._grad.data
    if np.allclose(kept, case.gradient, rtol=1e-3, atol=0, equal_nan=True):
        return []
    words = f"its .grad has norm {_norm(kept):.3g} instead"
    return [f"{words}: several backward passes added up (zero_grad() forgets them), or it was clipped or scaled"]


# Causes: each returns its reasons and what to do ---------------------------------------------------------------------

Found = tuple[list[str], str]


def _born(case: Case) -> Found:
    """NaN or infinity: the first op of the forward pass that made it, else the first of the backward pass."""
    found = _born_in_forward_pass(case.root)
    if found:
        return [f"it was born in the forward pass: {found}"], _ADVICE["nan"]
    for step in case.steps:
        found = born_backward(step)
        if found:
            return [f"it was born in the backward pass: {found}"], _ADVICE["nan"]
    return ["it came in with values that are infinite or NaN themselves, or from a hook"], _ADVICE["nan"]


def _born_in_forward_pass(root: Tensor) -> str:
    """The first op that made NaN or infinity, in words."""
    for node in sorted(backward_order([root]), key=lambda x: x.time):
        path = node.scope.path if node.scope is not None else ""
        found = node.op and born_forward(node.op, node.inputs, node.options, node, path)
        if found:
            return str(found)
    return ""


def _zero(case: Case) -> Found:
    arriving = [step for step in case.steps if np.any(step.upstream) or not np.size(step.upstream)]
    shut = [step for step in arriving if not np.any(step.contribution)]
    reasons = [f"{_at(step)}: {gates.explain(step) or _NO_SLOPE}" for step in shut]
    names = set(map(_culprit, shut))
    arrived: dict[Any, list[Any]] = {}
    for step in case.steps:
        arrived.setdefault(step.input, []).append(step.contribution)
    for value, contributions in arrived.items():
        if any(map(np.any, contributions)) and not np.any(sum(contributions)):
            reasons.append(f"{describe(value)}{where(value)}: what its {len(contributions)} uses send back cancels out")
        elif value.hooks and any(map(np.any, contributions)):
            reasons.append(f"{describe(value)}{where(value)}: a hook may have made it 0")
    reasons = list(dict.fromkeys(reasons))
    more = [f"and {len(reasons) - 5} more"] if len(reasons) > 5 else []
    advice = next((text for ops, text in _OPENERS.items() if names & set(ops.split())), "")
    return reasons[:5] + more, advice


def _culprit(step: Step) -> str:
    """The op to blame: of a product with a factor that is 0 throughout, the op that made the factor 0."""
    others = [x for i, x in enumerate(step.output.inputs) if i != step.index and isinstance(x, Tensor)]
    zeros = [x for x in others if x.op is not None and not np.any(x._data) and np.any(x.inputs[0])]
    return zeros[0].op.name if zeros and zeros[0].op is not None else step.op.name


def _vanished(case: Case) -> Found:
    reasons = [f"{_at(step)}: {gates.explain(step)}" for step in _sharp(case) if gates.explain(step)]
    return [_change(case, "shrank", 1.0), *reasons], _ADVICE["tiny"]


def _sharp(case: Case) -> list[Step]:
    """The ops that let through no more than rounding errors of what arrives."""
    return [step for step in case.way if _norm(step.contribution) < 1e-6 * _norm(step.upstream)]


def _exploded(case: Case) -> Found:
    return [_change(case, "grew", -1.0)], _ADVICE["huge"]


def _change(case: Case, verb: str, power: float) -> str:
    """Which kind of op on the way changed the norm most, all together: shrank it (power 1) or made it grow (-1)."""
    norms, places = _norms(case), dict[str, list[str]]()
    factors: dict[str, float] = {}
    for step, (before, after) in zip(case.way, pairwise(norms), strict=True):
        places.setdefault(step.op.name, []).append(_at(step))
        factor = (before / after) ** power if before and after else 1.0
        factors[step.op.name] = factors.get(step.op.name, 1.0) * factor
    words = f"it {verb} from {norms[0]:.3g} to {norms[-1]:.3g} through {len(case.way)} ops"
    worst = max(factors, key=lambda name: factors[name], default="")
    if not worst or factors[worst] <= 1:
        return words
    several = f"in the {len(places[worst])} {worst} ops, together"
    at = several if len(places[worst]) > 1 else f"at {places[worst][0]}"
    return f"{words}, most of it {at} by a factor of {factors[worst]:.2g}"


def _healthy(case: Case) -> Found:
    """Nothing to complain of; but elements that are exactly 0 have a reason too."""
    zeros = case.gradient == 0
    if not zeros.any():
        return [], ""
    words = f"{np.count_nonzero(zeros)} of its {zeros.size} elements are exactly 0"
    rows = zeros.reshape(len(zeros), -1).all(axis=1).nonzero()[0] if zeros.ndim > 1 else []
    words += f", among them the whole rows {gates.listed(rows)}" if len(rows) else ""
    into = [step for step in case.steps if step.input is case.tensor]
    behind = [step for step in case.steps if any(step.input is x.output and not np.all(x.upstream) for x in into)]
    found = {f"{_at(step)}: {gates.explain(step)}": None for step in into + behind if gates.explain(step)}
    return [words, *list(found)[:3]], ""


_CAUSES = {"nan": _born, "infinite": _born, "zero": _zero, "tiny": _vanished, "huge": _exploded, "healthy": _healthy}
_NO_SLOPE = "its rule makes 0 of the gradient that arrives"
_OPENERS = {
    "relu": "a lower learning rate, smaller initial values or normalised inputs keep gates open; so does leaky_relu",
    "sigmoid tanh": "smaller initial values, normalised inputs or a layer norm keep it off its flat ends; as the last "
    "layer, give the logits to F.binary_cross_entropy_with_logits or F.cross_entropy instead",
    "mul matmul matvec vecmat dot linear": "weights that start at 0 pass no gradient on: start with random ones",
    "where masked_fill getitem embedding": "look at the mask or the index",
}
_ADVICE = {
    "cut": "use the value itself where a gradient shall flow, without detach(), .data or no_grad; a comparison, "
    "an index or a whole number has no slope, so a smooth function must stand in its place",
    "unused": "An integer, a comparison, .data, .item() or detach() on the way ends the history.",
    "lines": " To see where, run the forward pass inside `with te.record_lines():` and ask again.",
    "nan": "run the step inside `with te.detect_anomaly():`: it stops there",
    "tiny": "relu or gelu in place of sigmoid and tanh, a layer norm, x + f(x) around deep parts, larger weights",
    "huge": "clip it with optim.clip_grad_norm_, normalise the inputs, lower the initial values or the learning rate",
}


# The way from the loss to the tensor ---------------------------------------------------------------------------------


def _strongest(tensor: Tensor, steps: list[Step]) -> list[Step]:
    """From the loss to the tensor, at each value along the edge that brings most of its gradient."""
    best: dict[Any, Step] = {}
    for step in steps:
        if step.input not in best or _norm(step.contribution) > _norm(best[step.input].contribution):
            best[step.input] = step
    way, value = [], tensor
    while value in best:
        way.append(best[value])
        value = best[value].output
    return way[::-1]


def _norms(case: Case) -> list[float]:
    """The norm of the gradient at each op of the way, and at the tensor."""
    return [*(_norm(step.upstream) for step in case.way), _norm(case.gradient)]


def _passages(case: Case) -> tuple[Passage, ...]:
    rows = []
    for step, norm in zip(case.way, _norms(case), strict=False):
        line, notes = lines.get(step.output), []
        if gates.can_shut(step.op):
            kind, flat = gates.shut(step.op, np.asarray(step.output._data), step.output.options)
            notes = [f"{np.mean(flat):.0%} {kind}"] if flat.any() else []
        notes += [str(line).partition(": ")[0]] if line else []
        path = step.output.scope.path if step.output.scope is not None else ""
        rows.append(Passage(f"{step.op.name} {step.output.shape}", path, norm, ", ".join(notes)))
    return (*rows, Passage("here", "", _norm(case.gradient), ""))


def _path_rows(path: Sequence[Passage]) -> list[str]:
    """The path as a table; of a long one the ends, and the ops at which the norm changes most."""
    change = [0.0] + [abs(np.log((b.norm or 1e-45) / (a.norm or 1e-45))) for a, b in pairwise(path)]
    ends = {*range(5), *range(len(path) - 5, len(path))}
    chosen = set(sorted(range(len(path)), key=lambda i: (i not in ends, -change[i]))[:_ROWS])
    shown = [i for i in range(len(path)) if i in chosen or {i - 1, i + 1} <= chosen]  # no gap of one
    names = {i: path[i].op + (f" in {path[i].module}" if path[i].module else "") for i in shown}
    width = min(44, max(map(len, names.values())))
    rows, last = [], -1
    for i in shown:
        rows += [f"    ... {i - last - 1} more"] if i > last + 1 else []
        rows.append(f"    {names[i]:<{width}}  {path[i].norm:>8.3g}  {path[i].note}".rstrip())
        last = i
    return rows


def _wrapped(text: str, first: str, other: str) -> list[str]:
    return textwrap.wrap(
        text, 80, initial_indent=first, subsequent_indent=other, break_long_words=False, break_on_hyphens=False
    )


# Words ---------------------------------------------------------------------------------------------------------------


def _norm(array: Any) -> float:
    return float(np.linalg.norm(np.asarray(array, np.float64)))


def _verdict(gradient: Any) -> str:
    if np.isnan(gradient).any():
        return "nan"
    if np.isinf(gradient).any():
        return "infinite"
    if not np.any(gradient):
        return "zero"
    norm = _norm(gradient)
    return "huge" if norm > HUGE else "tiny" if norm / gradient.size**0.5 < TINY else "healthy"


def _words(verdict: str, gradient: Any) -> str:
    if verdict in ("nan", "infinite"):
        wrong = np.isnan(gradient) if verdict == "nan" else np.isinf(gradient)
        return f"{'NaN' if verdict == 'nan' else 'infinite'} in {np.count_nonzero(wrong)} of {gradient.size} elements"
    if verdict == "zero":
        return "exactly 0" if gradient.size else "empty: the tensor has no elements"
    mean_square = _norm(gradient) / gradient.size**0.5
    return f"{verdict}: norm {_norm(gradient):.3g}, {mean_square:.2g} an element"


def _name(tensor: Tensor, steps: Sequence[Step] = ()) -> str:
    """The tensor, and where it enters if it is a leaf."""
    users = [step for step in steps if step.input is tensor] if tensor.op is None else []
    return describe(tensor) + (f" (input {users[0].index} of {describe(users[0].output)})" if users else "")


def _at(step: Step) -> str:
    return f"{describe(step.output)}{where(step.output)}"
