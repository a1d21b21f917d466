"""The recorder: it watches a step and writes down, line by line, what would do the same again.

The rules of differentiation run on values that write themselves down, as they run on symbols elsewhere. Whatever the
recorder cannot write down it refuses by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from tinygrad_edu.autograd import Step, Watcher, _fit, clock, copied, describe, state
from tinygrad_edu.errors import GraphError
from tinygrad_edu.notes import memory
from tinygrad_edu.ops.op import Op
from tinygrad_edu.ops.symbolic import Symbol
from tinygrad_edu.program import Call, Leaf, Value
from tinygrad_edu.tensor import Tensor

_UNCLEAR = object()  # two values were the same array: which of them is meant cannot be told


def refuse(what: str, instead: str) -> NoReturn:
    """Say what cannot be replayed, and what to do instead."""
    raise GraphError(f"capture: {what}, which a replay would not do again. {instead}")


def map_tree(tree: Any, function: Callable[[Any], Any]) -> Any:
    """The same tuples, lists and dictionaries around what the function makes of what is in them."""
    if type(tree) in (tuple, list):
        return type(tree)([map_tree(item, function) for item in tree])
    if isinstance(tree, tuple):
        return type(tree)(*(map_tree(item, function) for item in tree))
    if isinstance(tree, dict):
        return {key: map_tree(item, function) for key, item in tree.items()}
    return function(tree)


class Recorder(Watcher):
    """Sees what happens in a step, and collects the `calls` of its program."""

    sees_inside = False

    def __init__(self, arguments: Sequence[np.ndarray]) -> None:
        self.start = next(clock)
        self.calls: list[Call] = []
        self.result: Any = None  # what the program returns
        self.fresh: list[Tensor] = []  # leaves made by the step whose gradients it asks for
        self.roots: dict[int, Any] = {}  # the modules that were called
        self.leaves: dict[int, Tensor] = {}  # the tensors that were there before
        self.fixed = {id(array): number for number, array in enumerate(arguments)}  # memory that stays where it is
        self._kept: list[Any] = list(arguments)  # so that no id is used twice
        self._known: dict[int, Any] = {}  # tensors, arrays and numbers by id: their value in the program
        self._totals: dict[int, _Traced] = {}  # dL/d each tensor so far, by id
        self._through = False  # whether the backward pass of these totals is over
        self._edges: list[Step] = []  # of the op whose rules run at the moment
        self._number = 0

    # What the program calls things -----------------------------------------------------------------------------------

    def value(self, x: Any) -> Any:
        """An input of an op, as the program has it: a value, an array that stays where it is, or a number."""
        if isinstance(x, Tensor):
            known = self._known.get(id(x))
            if known is not None:
                return known
            if x.time < self.start:
                self.leaves[id(x)] = x
                return Leaf("", x._data, x)
            x = x._data
        if isinstance(x, (np.ndarray, np.generic)):
            return self._array(x)
        return self._known.get(id(x), x) if type(x) is float else x

    def _array(self, array: Any) -> Any:
        known = self._known.get(id(array))
        if known is _UNCLEAR:
            refuse("one array stands for two values here", "Give each of them an op of its own, such as x + 0")
        if known is not None:
            return known
        if isinstance(array, Argument) and id(memory(array)) not in self.fixed:
            refuse("an argument was copied by a function of NumPy that cannot be seen", "Write np.array(x) or an op")
        return array.view(np.ndarray) if isinstance(array, Argument) else array  # a replay need not watch it

    def remember(self, thing: Any, value: Any) -> None:
        """From now on the thing is this value of the program."""
        if isinstance(thing, np.bool_):
            return  # there are only two of them
        other = self._known.get(id(thing), value)
        self._known[id(thing)] = value if other is value or isinstance(thing, Tensor) else _UNCLEAR
        self._kept.append(thing)

    def _new(self, array: Any) -> Value:
        self._number += 1
        return Value(f"v{self._number}", array)

    def emit(self, function: Callable[..., Any], args: Sequence[Any], *results: Any, **more: Any) -> list[Any]:
        """A line of the program; returns the values of its results."""
        values = [None if result is None else self._new(result) for result in results]
        more.setdefault("name", getattr(function, "__name__", "call"))
        self.calls.append(Call(function, list(args), more.pop("kwargs", {}), values, **more))
        return values

    # Forward ---------------------------------------------------------------------------------------------------------

    def applied(self, op: Op, inputs: Sequence[Any], options: dict[str, Any], output: Any) -> None:
        """One line for an op."""
        self._finish_edges()
        root, scope = state.root.get(), state.scope.get()
        if root is not None:
            self.roots[id(root)] = root
        args = [self.value(x) for x in inputs]
        results = [output._data, *(output.saved or [None] * len(op.saves))]
        where = f" (in {scope.path})" if scope is not None and scope.path else ""
        more = {"kwargs": self._options(options), "name": op.name + where, "op": op}
        for index, array in enumerate(results[1:], 1):  # one that is kept may be the output itself
            results[index] = None if array is results[0] else array
        values = self.emit(op.forward, args, *results, **more)
        for thing, value in zip((output, *results), (values[0], *values), strict=True):
            if value is not None:
                self.remember(thing, value)

    def _options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return map_tree(dict(options), lambda x: self._array(x) if isinstance(x, np.ndarray) else x)  # type: ignore[no-any-return]

    def made(self, tensor: Any, source: Any) -> None:
        """A leaf made from an array or a tensor is a copy of it; one made from numbers is a constant."""
        self._finish_edges()
        if isinstance(source, (Tensor, np.ndarray, np.generic)):
            (value,) = self.emit(copied, [self.value(source), tensor.dtype], tensor._data)
        else:
            value = tensor._data
        self.remember(tensor, value)

    # Backward --------------------------------------------------------------------------------------------------------

    def pulled_back(self, step: Step) -> None:
        """The edges of an op are collected; its kernel or rules are written down when all of them are known."""
        if hasattr(step.contribution, "_data"):
            return  # with create_graph: these are ops, seen as such
        if step.output.hooks or step.input.hooks:
            refuse(f"{describe(step.input)} or {describe(step.output)} has a hook", "Remove it: hooks run in Python")
        if self._edges and self._edges[-1].output is not step.output:
            self._finish_edges()
        if self._through:
            self._totals, self._through = {}, False
        self._edges.append(step)

    def _finish_edges(self) -> None:
        steps, self._edges = self._edges, []
        if not steps:
            return
        output, op = steps[0].output, steps[0].op
        upstream = self._totals.get(id(output)) or self._traced(steps[0].upstream)
        arguments = [self._traced(x) for x in (output, *output.inputs, *output.saved)]
        if op.backward is not None:
            found = self._through_kernel(op, upstream, arguments, steps)
        else:
            found = {step.index: self._through_rule(op, step.index, upstream, arguments, output) for step in steps}
        for step in steps:
            contribution = _fit(found[step.index], output, step.index)
            if not isinstance(contribution, _Traced):
                contribution = _Traced(self, contribution, contribution)
            _check_same(contribution.value, step)
            before = self._totals.get(id(step.input))
            self._totals[id(step.input)] = contribution if before is None else before + contribution

    def _traced(self, x: Any) -> Any:
        if not isinstance(x, (Tensor, np.ndarray, np.generic)):
            return x
        return _Traced(self, self.value(x), x._data if isinstance(x, Tensor) else x)

    def _through_kernel(
        self, op: Op, upstream: _Traced, arguments: list[Any], steps: Sequence[Step]
    ) -> dict[int, _Traced]:
        indices = {step.index for step in steps}
        output = steps[0].output
        options = {"needed": [index in indices for index in range(len(output.inputs))], **output.options}
        everything = [upstream, *arguments]
        assert op.backward is not None
        found = op.backward(*map(_plain, everything), **options)
        given = {id(x.value): x for x in everything if isinstance(x, _Traced) and isinstance(x.value, np.ndarray)}
        wanted = [found[i] if i in indices and id(found[i]) not in given else None for i in range(len(found))]
        more = {"kwargs": self._options(options), "name": f"{op.name}_backward", "several": True}
        results = self.emit(op.backward, [x.ref if isinstance(x, _Traced) else x for x in everything], *wanted, **more)
        return {i: given.get(id(found[i])) or _Traced(self, results[i], found[i]) for i in indices}

    def _through_rule(self, op: Op, index: int, upstream: _Traced, arguments: list[Any], output: Any) -> Any:
        rule, before = op.rule(index), (len(self.calls), self._number)
        assert rule is not None
        try:
            return rule(upstream, *arguments, **output.options)
        except Exception:  # it calls NumPy itself, so it becomes one line
            del self.calls[before[0] :]
            self._number = before[1]
        everything = [upstream, *arguments]
        found = rule(*map(_plain, everything), **output.options)
        args = [x.ref if isinstance(x, _Traced) else x for x in everything]
        (value,) = self.emit(rule, args, found, kwargs=self._options(output.options), name=f"{op.name}_rule{index}")
        return _Traced(self, value, found)

    def totalled(self, value: Any, total: Any) -> None:
        """What backward() or grad() found: it has a name in the program already."""
        self._finish_edges()
        self._through = True
        known = self._totals.get(id(value))
        if known is not None and not isinstance(total, Tensor) and isinstance(known.ref, Value):
            self.remember(total, known.ref)

    # What is more than an op -----------------------------------------------------------------------------------------

    def called(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        """An effect is one line, which is run for real at each replay."""
        self._finish_edges()
        if function.__name__ == "accumulate" and args[0].time > self.start:
            if args[0].op is not None:
                refuse(f"the gradient of {describe(args[0])} is kept", "Do not ask for the gradients of intermediates")
            self.fresh.append(args[0])
        refs = [x if i == 0 and isinstance(x, Tensor) else map_tree(x, self._given) for i, x in enumerate(args)]
        results = [result] if isinstance(result, (np.ndarray, np.generic, float)) else []
        for value in self.emit(function, refs, *results, kwargs=map_tree(kwargs, self._given), pure=False):
            self.remember(result, value)

    def _given(self, x: Any) -> Any:
        """An argument of an effect: a tensor that was there before is meant itself, any other by its elements."""
        if not isinstance(x, Tensor):
            return self.value(x)
        if x.time < self.start or any(x is other for other in self.fresh):
            return x
        return self.emit(Tensor.wrap, [self.value(x)], x._data)[0]

    def asked(self, tensor: Any) -> None:
        """A gradient that somebody takes is taken from the tensor at each replay."""
        self._finish_edges()
        if tensor._grad is not None:
            (value,) = self.emit(_elements_of_gradient, [tensor], tensor._grad._data)
            self.remember(tensor._grad, value)

    def read(self, tensor: Any) -> None:
        """Refused: nobody sees what is done with the elements."""
        refuse(
            f"the elements of {describe(tensor)} are read within the step (by .item(), .data, print or NumPy)",
            "Use ops on tensors, such as te.where for an if, and read what the step returns",
        )

    def changed(self, array: np.ndarray) -> None:
        """Refused: only optimizers change arrays in a way that is seen."""
        refuse(
            f"an array of shape {array.shape} is changed in place within the step",
            "Let an optimizer do it, or do it outside of the step",
        )

    # What NumPy computes on an argument ------------------------------------------------------------------------------

    def derive(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> Any:
        """The result of a function of NumPy, in memory that stays where it is."""
        self._finish_edges()
        array = np.array(result)
        more = {"kwargs": map_tree(kwargs, self.value)}
        (value,) = self.emit(function, [map_tree(x, self.value) for x in args], result, **more)
        self.emit(np.copyto, [array, value], pure=False)
        self.fixed[id(array)] = len(self.fixed)
        self._kept.append(array)
        return as_argument(array)

    def forget(self) -> None:
        """Let go of all values, some of which know the recorder: it need not wait for the garbage collector."""
        self._known, self._totals, self._kept = {}, {}, []

    # The end, and whether two recordings are the same -----------------------------------------------------------------

    def returned(self, x: Any) -> Any:
        """What the program returns for something that the step returned."""
        self._finish_edges()
        if isinstance(x, Tensor) and x.time < self.start:
            return x
        if not isinstance(x, (Tensor, np.ndarray, np.generic)):
            return self.value(x)
        value = self.value(x)
        array = value.array if isinstance(value, Value) else value
        if id(memory(array)) in self.fixed:  # the next call will overwrite it
            (value,) = self.emit(copied, [value], np.array(array))
        return self.emit(Tensor.wrap, [value], array)[0] if isinstance(x, Tensor) else value

    def marks(self) -> list[tuple[str, list[Any]]]:
        """What another recording of the same step must agree in: the lines, and what each of them reads."""
        lines = [(call.name, [*call.args, *call.kwargs.values()]) for call in self.calls]
        return [(name, [self._mark(x) for x in inputs]) for name, inputs in [*lines, ("return", [self.result])]]

    def _mark(self, x: Any) -> Any:
        """The name of a value, the place of an array that stays, or else the elements."""
        if isinstance(x, Leaf) or (isinstance(x, Tensor) and x.time < self.start):
            return "tensor", id(x.tensor if isinstance(x, Leaf) else x)
        if isinstance(x, Value):
            return "value", x.name
        if isinstance(x, Tensor):
            return "new tensor", x.shape, [x is other for other in self.fresh]
        if isinstance(x, (np.ndarray, np.generic)):
            place = self.fixed.get(id(memory(x)))
            return _Constant(x) if place is None else ("place", place, _geometry(x))
        if isinstance(x, (tuple, list)):
            return type(x), [self._mark(item) for item in x]
        if isinstance(x, dict):
            return dict, [(key, self._mark(item)) for key, item in x.items()]
        return (type(x), repr(x)) if isinstance(x, (bool, int, float, str, slice, type(None))) else id(x)


class _Constant:
    """An array that a program reads where it is: equal to another that is there too, or that has the same elements."""

    def __init__(self, array: Any) -> None:
        self.array, self.elements = array, array.tobytes()  # of now: the array itself may be changed later

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Constant) or self.array.dtype != other.array.dtype:
            return False
        same_place = memory(self.array) is memory(other.array) and _geometry(self.array) == _geometry(other.array)
        return same_place or (bool(self.array.shape == other.array.shape) and self.elements == other.elements)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return f"{self.array.dtype} {self.array.shape}"


def _geometry(array: Any) -> Any:
    """Where in its memory an array lies."""
    start = array.__array_interface__["data"][0] - memory(array).__array_interface__["data"][0]
    return start, array.shape, array.strides


class _Traced(Symbol):
    """A value on which a rule runs while the program is recorded: each op that the rule applies becomes a line."""

    def __init__(self, recorder: Recorder, ref: Any, value: Any) -> None:
        super().__init__("", value)
        self.recorder, self.ref = recorder, ref

    @staticmethod
    def __apply_op__(op: Op, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        recorder = next(x.recorder for x in inputs if isinstance(x, _Traced))
        settings = map_tree(options, _plain)
        result = op.forward(*map(_plain, inputs), **settings)
        result = result[0] if op.saves else result
        if op.notation in ("n", "d"):
            return result  # it depends on shapes alone
        for x in inputs:
            if isinstance(x, _Traced) and x.value is result and isinstance(result, np.ndarray):
                return x
        args = [x.ref if isinstance(x, _Traced) else recorder.value(x) for x in inputs]
        results = [result, *[None] * len(op.saves)]
        kwargs = recorder._options(settings)
        values = recorder.emit(op.forward, args, *results, kwargs=kwargs, name=op.name, op=op)
        return _Traced(recorder, values[0], result)


def _plain(x: Any) -> Any:
    return x.value if isinstance(x, _Traced) else x


def _elements_of_gradient(tensor: Any) -> Any:
    return tensor._grad._data


def _check_same(value: Any, step: Step) -> None:
    expected = step.contribution
    if value.dtype != expected.dtype or not np.array_equal(value, expected, equal_nan=value.dtype.kind == "f"):
        refuse(
            f"the backward pass of {describe(step.output)} gave other numbers when it was repeated",
            "Rules must depend on their arguments alone",
        )


# Arguments: arrays that know that they change from call to call -------------------------------------------------------


class Argument(np.ndarray):
    """An array argument while a step is recorded. What NumPy computes on it becomes part of the program."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(x, Tensor) for x in inputs):
            return NotImplemented
        if kwargs.get("out") is not None:
            refuse("an argument is changed in place", "Compute a new array, as in x = x + 1")
        return _on_arguments(ufunc if method == "__call__" else getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if any(issubclass(kind, Tensor) for kind in types):
            return NotImplemented
        return _on_arguments(function, args, kwargs)

    def __getitem__(self, index: Any) -> Any:
        return _on_arguments(np.ndarray.__getitem__, (self, index), {})

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))


def as_argument(array: np.ndarray) -> Argument:
    """The array as a step gets it: it may not write to it, by whatever view."""
    argument = array.view(Argument)
    argument.flags.writeable = False
    return argument


def _on_arguments(function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Run a function of NumPy; if it computes something rather than look at shapes, tell the recorder."""
    plain, settings = map_tree((tuple(args), kwargs), lambda x: x.view(np.ndarray) if isinstance(x, Argument) else x)
    result = function(*plain, **settings)
    recorder = next((watcher for watcher in state.watchers.get() if isinstance(watcher, Recorder)), None)
    if recorder is None or function in (np.shape, np.ndim, np.size):
        return result
    if not isinstance(result, (np.ndarray, np.generic)):
        refuse(f"np.{function.__name__} makes Python values from an argument", "Compute them before the step")
    if id(memory(result)) in recorder.fixed:
        return result.view(Argument)
    return recorder.derive(function, plain, settings, result)


def _refused(name: str) -> Callable[..., Any]:
    def method(self: Argument, *args: Any, **kwargs: Any) -> NoReturn:
        refuse(
            f"an element of an argument is read as a Python number (by {name.strip('_')})",
            "Use ops or NumPy on whole arrays, such as te.where for an if",
        )

    return method


def _refused_change(self: Argument, *args: Any, **kwargs: Any) -> NoReturn:
    refuse("an argument is changed in place", "Compute a new array, with np.sort or np.where for instance")


def _derived(name: str) -> Callable[..., Any]:
    def method(self: Argument, *args: Any, **kwargs: Any) -> Any:
        return _on_arguments(getattr(np.ndarray, name), (self, *args), kwargs)

    return method


for _name in ("__bool__", "__int__", "__float__", "__index__", "__contains__", "item", "tolist", "tobytes"):
    setattr(Argument, _name, _refused(_name))
for _name in ("__setitem__", "fill", "partition", "put", "resize", "setfield", "sort"):
    setattr(Argument, _name, _refused_change)
for _name in (
    "argmax argmin argpartition argsort astype choose compress copy cumprod cumsum dot flatten mean nonzero ravel "
    "repeat reshape round searchsorted std take trace var"
).split():
    setattr(Argument, _name, _derived(_name))
