"""Reverse-mode automatic differentiation: the one loop in which the chain rule is applied.

A recorded value (a Tensor; here anything shaped like `Node`) remembers the op that made it and the inputs of that op.
`sweep` walks these records backwards from an output and applies the chain rule once along each edge,

    contribution = upstream · ∂output/∂input        (one vector-Jacobian product),

adding up what arrives at a value that was used more than once. `backward`, `grad`, the pictures and the hooks are all
consumers of this sweep. See Griewank & Walther, "Evaluating Derivatives" (2008), chapter 3.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, cast, overload

import numpy as np

from tinygrad_edu.errors import GraphError
from tinygrad_edu.notes import Notes, memory
from tinygrad_edu.ops.elementwise import astype, identity
from tinygrad_edu.ops.movement import sum_to
from tinygrad_edu.ops.op import Op
from tinygrad_edu.ops.symbolic import Symbol, print_rule

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


class Scope(NamedTuple):
    """The module call in which an op ran. Each call has its own: of two that are equal, `is` tells them apart."""

    path: str  # from the outermost module, such as layers.0
    label: str  # how the module describes itself
    caller: Scope | None = None  # the call from within which it was called


class Node(Protocol):
    """What the sweep needs to know of a value in the graph."""

    _data: Any  # the array
    requires_grad: bool
    op: Op | None  # what made it; None for a leaf
    inputs: tuple[Any, ...]  # what the op was applied to: nodes, numbers and None
    options: dict[str, Any]
    arrays: Sequence[Any]  # what the op's kernel was given for them: arrays, numbers and None
    saved: tuple[Any, ...]  # what the op's forward pass kept for its rules
    time: int  # when it was made: later than everything it was made from
    scope: Scope | None
    hooks: tuple[Callable[[Any], Any], ...]
    retains_grad: bool

    def wrap(self, array: Any) -> Any:
        """Make a constant of the same kind."""

    def accumulate(self, gradient: Any) -> None:
        """Add to `.grad`."""


# What is being recorded, thread by thread ----------------------------------------------------------------------------


class _State:
    """What is being recorded: each of these is a variable of its own in every thread, and in every asyncio task."""

    recording: ContextVar[bool] = ContextVar("recording", default=True)
    blocks: ContextVar[tuple[_Recording, ...]] = ContextVar("blocks", default=())  # open, outermost first
    scope: ContextVar[Scope | None] = ContextVar("scope", default=None)  # the module call that is running
    root: ContextVar[Any] = ContextVar("root", default=None)  # the outermost module of the running calls
    watchers: ContextVar[tuple[Watcher, ...]] = ContextVar("watchers", default=())  # those open, outermost first
    last_root: ContextVar[Callable[[], Any]] = ContextVar("last_root", default=lambda: None)  # of backward(), weakly


state = _State()
clock = itertools.count(1)  # one tick for each value made and each array changed in place


class Watcher:
    """Sees every op of this thread, forward and backward, within its `with` block; to stop there, it raises.

    Costs nothing while none is open. The base class looks on and does nothing.
    """

    sees_inside: ClassVar[bool] = True  # whether it wants to see the ops within an `effect`, too

    def __enter__(self) -> Any:
        state.watchers.set((*state.watchers.get(), self))
        return self

    def __exit__(self, *error: object) -> None:
        state.watchers.set(tuple(watcher for watcher in state.watchers.get() if watcher is not self))

    def applied(self, op: Op, inputs: Sequence[Any], options: dict[str, Any], output: Any) -> None:
        """An op has just run on these inputs (nodes, numbers and None), recorded or not."""

    def pulled_back(self, step: Step) -> None:
        """The chain rule has just been applied along one edge."""

    def totalled(self, value: Any, total: Any) -> None:
        """`backward` or `grad` is through, and has found dL/d value."""

    def made(self, tensor: Any, source: Any) -> None:
        """A leaf has just been made from this data."""

    def read(self, tensor: Any) -> None:
        """Somebody is about to look at the elements of a tensor outside of any op."""

    def asked(self, tensor: Any) -> None:
        """Somebody is about to take the `.grad` of a tensor."""

    def changed(self, array: np.ndarray) -> None:
        """The elements of an array are changed in place."""

    def called(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """An `effect` has just happened."""


def effect(function: AnyFunction) -> AnyFunction:
    """Mark what does more than ops do, such as moving parameters or drawing numbers: watchers hear of it as one call.

    What happens inside is hidden from those that take it as a whole.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        watchers = state.watchers.get()
        if not watchers:
            return function(*args, **kwargs)
        state.watchers.set(tuple(watcher for watcher in watchers if watcher.sees_inside))
        try:
            result = function(*args, **kwargs)
        finally:
            state.watchers.set(watchers)
        for watcher in watchers:
            watcher.called(function, args, kwargs, result)
        return result

    return cast(AnyFunction, call)


class _Recording:
    """Turns recording on or off in this thread, as a context manager or a decorator (of generators too)."""

    recording: ClassVar[bool]

    @overload
    def __new__(cls, function: None = None) -> _Recording: ...
    @overload
    def __new__(cls, function: AnyFunction) -> AnyFunction: ...  # type: ignore[misc]
    def __new__(cls, function: Any = None) -> Any:
        """Without parentheses, as in `@no_grad`, decorate at once."""
        self = super().__new__(cls)
        return self if function is None else self(function)

    def __enter__(self) -> None:
        self._settle((*state.blocks.get(), self))

    def __exit__(self, *error: object) -> None:
        blocks = list(state.blocks.get())
        if self in blocks:  # a generator may be closed in another thread
            del blocks[-1 - blocks[::-1].index(self)]
        self._settle(tuple(blocks))

    @staticmethod
    def _settle(blocks: tuple[_Recording, ...]) -> None:
        """The block opened last decides, in whatever order generators close theirs."""
        state.blocks.set(blocks)
        state.recording.set(blocks[-1].recording if blocks else True)

    def __call__(self, function: AnyFunction) -> AnyFunction:
        """Decorate a function."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        @functools.wraps(function)
        def generate(*args: Any, **kwargs: Any) -> Any:
            inner = function(*args, **kwargs)
            go_on = functools.partial(next, inner)
            while True:
                with type(self)():  # only while the generator runs, not while its caller does
                    try:
                        item = go_on()
                    except StopIteration as stop:
                        return stop.value
                try:
                    go_on = functools.partial(inner.send, (yield item))
                except BaseException as error:  # what the caller throws in, or GeneratorExit where it closes
                    go_on = functools.partial(inner.throw, error)

        return cast(AnyFunction, generate if inspect.isgeneratorfunction(function) else call)


class no_grad(_Recording):
    """Inside, nothing is recorded: results do not require a gradient. Each thread has a state of its own.

    A generator is decorated, as in `@te.no_grad()`: then its caller records as before while the generator waits. A
    `with` block around a `yield` stays open for the caller, which is what context managers are made of.

    >>> import tinygrad_edu as te
    >>> x = te.Tensor(2.0, requires_grad=True)
    >>> with te.no_grad():
    ...     (x * x).requires_grad
    False
    """

    recording = False


class enable_grad(_Recording):
    """Inside, ops are recorded, also within a `no_grad` block."""

    recording = True


# Threads: where reading something and writing it back must be one step, this lock is held. It is taken once in a
# backward pass, which is free; and by a fork, so that no child inherits it from a thread that it does not have.
_one_at_a_time = threading.RLock()
if hasattr(os, "register_at_fork"):
    _unlock = _one_at_a_time.release
    os.register_at_fork(before=_one_at_a_time.acquire, after_in_parent=_unlock, after_in_child=_unlock)


# Values that change after they were recorded -------------------------------------------------------------------------


class _Changes:
    """When which array was last written to in place. A view counts as the array that owns its memory."""

    def __init__(self) -> None:
        self.latest = 0
        self._times: Notes[int] = Notes()

    def mark(self, array: np.ndarray) -> None:
        """Note that the array's elements have just been changed."""
        with _one_at_a_time:
            self.latest = self._times[memory(array)] = next(clock)
        for watcher in state.watchers.get():
            watcher.changed(array)

    def since(self, array: Any, time: int) -> bool:
        """Whether the array's elements were changed after the given time."""
        return (self._times.get(memory(array)) or 0) > time


changes = _Changes()


def _refuse_changed(output: Node, needed: Sequence[bool]) -> None:
    """Raise if an array that the rules of `output` read is no longer what it was when the op ran."""
    assert output.op is not None
    arrays = {f"input {i}": x._data for i, x in enumerate(output.inputs) if hasattr(x, "_data")}
    arrays |= {"y": output._data, **dict(zip(output.op.saves, output.saved, strict=True))}  # y may be one that is kept
    stale = {name for name, array in arrays.items() if changes.since(array, output.time)}
    stale = stale and stale & _reads(output, needed)
    if stale:
        which = ", ".join(name if name.startswith("input") else "its output" for name in sorted(stale))
        raise GraphError(
            f"{describe(output)}: {which} was changed in place after the op ran (by an optimizer step, load_state_dict "
            "or an assignment), so its gradient would be wrong. Run the forward pass again before backward()."
        )


def _reads(output: Node, needed: Sequence[bool]) -> set[str]:
    """Which values the rules of an op use beyond their shapes, found by running the rules on symbols."""
    assert output.op is not None
    y = Symbol("y", output._data)
    inputs = [Symbol(f"input {i}", x._data) if hasattr(x, "_data") else x for i, x in enumerate(output.inputs)]
    reads: set[str] = set()
    for index, need in enumerate(needed):
        try:
            if need:
                g = Symbol("G", np.ones_like(output._data))
                reads |= print_rule(output.op, index, g, y, inputs, output.saved, output.options).reads
        except Exception:  # a rule that cannot run on symbols may read everything
            return {"y", *output.op.saves, *(x.text for x in inputs if isinstance(x, Symbol))}
    return reads


# The chain rule ------------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """One application of the chain rule, along one edge: `contribution` is what `output` sends back to `input`."""

    op: Op
    output: Any
    index: int  # type: ignore[assignment]  # which input of the op
    input: Any
    upstream: Any  # dL/d output, complete
    contribution: Any  # its share of dL/d input, in the input's shape and dtype


def sweep(
    outputs: Any,
    grad_outputs: Any = None,
    *,
    inputs: Sequence[Any] | None = None,
    create_graph: bool = False,
    gradients: dict[Any, Any] | None = None,
) -> Iterator[Step]:
    """Apply the chain rule backwards from `outputs`, one edge at a time, values made last first.

    outputs: a tensor or several; grad_outputs: dL/d of each, by default 1 for an output of one element.
    inputs: follow only the edges that lead to these (by default to every leaf that requires a gradient).
    create_graph: compute with Tensors instead of arrays, so that the result can be differentiated again.
    gradients: a dictionary that, when the sweep is through, holds the total at each leaf, each of `inputs`, and each
        tensor that retains its gradient.

    >>> import tinygrad_edu as te
    >>> x = te.Tensor(3.0, requires_grad=True)
    >>> for step in te.sweep(x * x):
    ...     print(step.op.name, step.index, step.upstream, step.contribution)
    mul 0 1.0 3.0
    mul 1 1.0 3.0
    """
    totals = {} if gradients is None else gradients
    totals.update(_seeds(outputs, grad_outputs, create_graph))
    return _chain_rule(totals, inputs, create_graph)


def _chain_rule(
    gradients: dict[Any, Any],
    inputs: Sequence[Any] | None = None,
    create_graph: bool = False,
    retain_grads: bool = False,
    steps: bool = True,
) -> Iterator[Step]:
    """The loop, from the gradients of the outputs to those of the leaves; it yields steps only if they are asked for.

    The value that was made last comes first: whatever used it was made later still, so its gradient is complete.
    """
    leading = None if inputs is None else set(backward_order(list(gradients), inputs))
    kept = frozenset(inputs or ())
    observed = steps or bool(state.watchers.get())
    waiting = [(-value.time, value) for value in gradients if leading is None or value in leading]
    heapify(waiting)
    while waiting:
        _, output = heappop(waiting)
        op, upstream = output.op, gradients[output]
        for hook in output.hooks:
            upstream = gradients[output] = hook(upstream)
        if op is None:
            continue
        if not (retain_grads or output.retains_grad or output in kept):
            del gradients[output]

        if changes.latest > output.time:
            _refuse_changed(output, _needed(output, leading))
        if create_graph:
            arguments = (upstream, output, *output.inputs)
        else:
            arguments = (upstream, output._data, *output.arrays, *output.saved)
        at_once = _at_once(output, upstream, leading, create_graph) if op.backward or create_graph else None
        for index, source in enumerate(output.inputs):
            needed = getattr(source, "requires_grad", False) and (leading is None or source in leading)
            rule = op.rules[index] if needed else None
            if rule is None:
                continue
            contribution = at_once[index] if at_once else rule(*arguments, **output.options)
            if type(contribution) is np.ndarray or type(contribution) is not type(source._data):
                contribution = _fit(contribution, output, index)  # a NumPy scalar of the same type does fit
            if source in gradients:
                gradients[source] = gradients[source] + contribution
            else:
                gradients[source] = contribution
                heappush(waiting, (-source.time, source))
            if observed:
                step = Step(op, output, index, source, upstream, contribution)
                for watcher in state.watchers.get():
                    watcher.pulled_back(step)
                yield step


def backward_order(roots: Sequence[Any], inputs: Sequence[Any] | None = None) -> list[Any]:
    """Everything a gradient passes on its way from the roots, latest first: no value comes before one made from it.

    Nothing older than the oldest of `inputs` can depend on one of them, so the search ends there.
    """
    since = min((x.time for x in inputs), default=0) if inputs is not None else 0
    found, waiting = set(roots), list(roots)
    while waiting:
        for source in waiting.pop().inputs:
            if getattr(source, "requires_grad", False) and source.time >= since and source not in found:
                found.add(source)
                waiting.append(source)
    order = sorted(found, key=attrgetter("time"), reverse=True)
    if inputs is None:
        return order
    leading = set(inputs)
    for value in reversed(order):
        if not leading.isdisjoint(x for x in value.inputs if hasattr(x, "time")):
            leading.add(value)
    return [value for value in order if value in leading]


def _needed(output: Any, leading: set[Any] | None) -> list[bool]:
    """For each input of an op, whether a gradient is to be computed."""
    return [
        getattr(x, "requires_grad", False) and (leading is None or x in leading) and output.op.rules[i] is not None
        for i, x in enumerate(output.inputs)
    ]


def _at_once(output: Any, upstream: Any, leading: set[Any] | None, create_graph: bool) -> Sequence[Any] | None:
    """The contribution to each input, from an op that has a better way than its rules; None from one that has not."""
    op, needed = output.op, _needed(output, leading)
    if not create_graph:
        return _through_kernel(output, upstream, needed)
    if op.compose is not None:
        return _through_definition(output, upstream, needed)
    if op.saves:
        raise GraphError(f"{describe(output)}: no higher derivatives, because the op keeps arrays and has no compose=")
    return None


def _through_kernel(output: Any, upstream: Any, needed: Sequence[bool]) -> Sequence[Any]:
    """The contributions of an op that computes all of them at once."""
    arrays = (upstream, output._data, *output.arrays, *output.saved)
    contributions = output.op.backward(*arrays, needed=needed, **output.options)
    if not isinstance(contributions, (tuple, list)) or len(contributions) != len(needed):
        raise GraphError(f"{describe(output)}: backward= must return a tuple, one array or None for each input")
    return contributions


def _through_definition(output: Any, upstream: Any, needed: Sequence[bool]) -> Sequence[Any]:
    """The contributions of a fused op as a graph: its definition in primitives is recorded and differentiated.

    Each input gets an alias first, so that an input that is used twice, or made from another one, is told apart.
    """
    aliases = [identity(x) if need else x for x, need in zip(output.inputs, needed, strict=True)]
    wanted = [alias for alias, need in zip(aliases, needed, strict=True) if need]
    definition = output.op.compose(*aliases, **output.options)
    totals = grad(definition, wanted, upstream, create_graph=True, allow_unused=True)
    found = (x.wrap(np.zeros_like(x._data)) if g is None else g for x, g in zip(wanted, totals, strict=True))
    return [next(found) if need else None for need in needed]


def _fit(contribution: Any, output: Any, index: int) -> Any:
    """Undo a broadcast: sum the contribution to the input's shape, and give it the input's dtype."""
    source = output.inputs[index]
    shape, dtype = source._data.shape, source._data.dtype
    if not hasattr(contribution, "dtype"):
        if not isinstance(contribution, (int, float)):
            raise GraphError(f"{describe(output)}: the rule for input {index} returned {contribution!r:.60}, no array")
        contribution = dtype.type(contribution)
    if contribution.shape != shape:
        extra = contribution.ndim - len(shape)
        if extra < 0 or any(n not in (1, m) for n, m in zip(shape, contribution.shape[extra:], strict=True)):
            raise GraphError(
                f"{describe(output)}: the rule for input {index} returned a gradient of shape {contribution.shape}, "
                f"which cannot be summed to the input's shape {shape}. A rule returns dL/dinput in the shape of the "
                "input, or in the shape it was broadcast to."
            )
        contribution = sum_to(contribution, shape=shape)
    return contribution if contribution.dtype == dtype else astype(contribution, dtype=dtype)


def describe(value: Any) -> str:
    """A recorded value as errors name it: `matmul (4, 2) in layers.0`."""
    if value.op is None:
        return f"tensor {value.name or ''}{value._data.shape}"
    where = f" in {value.scope.path}" if value.scope is not None and value.scope.path else ""
    return f"{value.op.name} {value._data.shape}{where}"


@effect
def copied(data: Any, dtype: Any = None) -> np.ndarray:
    """A new array, which a watcher can tell from a constant."""
    return np.array(data, dtype=dtype)


def _seeds(outputs: Any, grad_outputs: Any, create_graph: bool) -> dict[Any, Any]:
    """The gradient with which the sweep begins at each of the outputs."""
    roots = _listed(outputs)
    seeds = [grad_outputs] if hasattr(outputs, "_data") else list(grad_outputs or [None] * len(roots))
    if len(seeds) != len(roots):
        raise GraphError(f"grad_outputs: {len(roots)} outputs need one each, got {len(seeds)}")
    gradients: dict[Any, Any] = {}
    for root, seed in zip(roots, seeds, strict=True):
        first = _seed(root, seed, create_graph)
        gradients[root] = gradients[root] + first if root in gradients else first
    return gradients


def _listed(values: Any) -> list[Any]:
    """One tensor or several, as a list."""
    if hasattr(values, "_data"):
        return [values]
    listed = list(values) if isinstance(values, Iterable) else [values]
    for value in listed:
        if not hasattr(value, "_data"):
            raise TypeError(f"expected a tensor or a list of tensors, got {type(value).__name__} {value!r:.60}")
    return listed


def _seed(root: Any, gradient: Any, create_graph: bool) -> Any:
    """dL/d root: 1 for a root of one element, else what the caller gave, checked."""
    if not root.requires_grad:
        raise GraphError(
            f"nothing to differentiate: {describe(root)} does not depend on anything with requires_grad=True (or it "
            "was made under no_grad, or from a detached tensor)"
        )
    data = root._data
    if gradient is None:
        if data.size != 1:
            raise GraphError(
                f"backward from {describe(root)} needs a gradient of that shape: only an output of one element has the "
                "default 1. Reduce it to a loss first (.sum() or .mean()), or pass gradient="
            )
        gradient = np.ones_like(data) if data.shape else data.dtype.type(1)
    elif not (create_graph and hasattr(gradient, "_data")):
        try:
            gradient = copied(getattr(gradient, "_data", gradient), data.dtype)
        except (TypeError, ValueError):
            raise TypeError(f"the gradient must be numbers of shape {data.shape}, got {gradient!r:.60}") from None
    if gradient.shape != data.shape:
        raise GraphError(
            f"the gradient has shape {gradient.shape}, the output it belongs to {data.shape}: they must be equal"
        )
    return gradient if hasattr(gradient, "_data") or not create_graph else root.wrap(gradient)


# Its two everyday consumers ------------------------------------------------------------------------------------------


def backward(root: Any, gradient: Any = None, retain_grads: bool = False, create_graph: bool = False) -> None:
    """Add dL/dx to the `.grad` of every leaf x that `root` was computed from. See `Tensor.backward`."""
    state.last_root.set(weakref.ref(root))
    with enable_grad() if create_graph else contextlib.nullcontext():
        gradients = _seeds(root, gradient, create_graph)
        for _ in _chain_rule(gradients, None, create_graph, retain_grads, steps=False):
            pass
    with _one_at_a_time:  # only now: an error on the way leaves every .grad as it was
        for value, total in _owned(gradients).items():
            value.accumulate(total)


def _owned(gradients: dict[Any, Any]) -> dict[Any, Any]:
    """The gradients, each array with memory of its own: changing one in place changes no other, and is allowed."""
    for watcher in state.watchers.get():
        for value, total in gradients.items():
            watcher.totalled(value, total)
    taken: set[int] = set()
    for value, total in gradients.items():
        if not hasattr(total, "_data") and (id(total) in taken or getattr(total, "base", None) is not None):
            gradients[value] = copied(total)
        taken.add(id(total))
    return gradients


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """The gradients of `outputs` (a tensor or several, added up) in each of `inputs`, leaving `.grad` alone.

    grad_outputs: dL/d of each output, by default 1 for an output of one element.
    create_graph: record the computation, so that the gradients can be differentiated again.
    allow_unused: return None for an input that the outputs do not depend on, instead of raising GraphError.

    >>> import tinygrad_edu as te
    >>> x = te.Tensor(3.0, requires_grad=True)
    >>> (slope,) = te.grad(x**3, [x], create_graph=True)
    >>> (curvature,) = te.grad(slope, [x])
    >>> slope.item(), curvature.item()
    (27.0, 18.0)
    """
    wanted = _listed(inputs)
    for position, value in enumerate(wanted):
        if not value.requires_grad:
            raise GraphError(f"grad: input {position} does not require a gradient: create it with requires_grad=True")
    with enable_grad() if create_graph else contextlib.nullcontext():
        gradients = _seeds(outputs, grad_outputs, create_graph)
        for _ in _chain_rule(gradients, wanted, create_graph, steps=False):
            pass
    unused = [position for position, value in enumerate(wanted) if value not in gradients]
    if unused and not allow_unused:
        raise GraphError(
            f"grad: the outputs do not depend on input {', '.join(map(str, unused))}; pass allow_unused=True to get "
            "None there"
        )
    found = {x: x.wrap(total) for x, total in _owned(gradients).items()}
    return tuple(found.get(x) for x in wanted)
