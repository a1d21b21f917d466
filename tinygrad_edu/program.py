"""A program: calls on numbered values, one after the other, written out as a plain Python function and compiled once.

It is what `te.capture` records. Printed, it reads like a step that somebody wrote in NumPy by hand:

    v1 = linear(x0, w0, w1)
    v2 = maximum(v1, 0, buffer0)
    ...
"""

from __future__ import annotations

import linecache
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from tinygrad_edu.notes import memory
from tinygrad_edu.ops import elementwise as e
from tinygrad_edu.ops.op import Op

# Ops that are one operator of Python, which on NumPy scalars takes a tenth of the time of a function ...
OPERATORS = {
    e.add: "{} + {}",
    e.sub: "{} - {}",
    e.mul: "{} * {}",
    e.div: "{} / {}",
    e.neg: "-{}",
    e.greater: "{} > {}",
    e.less: "{} < {}",
}
# ... and the functions of NumPy that write the same result into an array that is there already.
INTO: dict[Op, tuple[np.ufunc, tuple[Any, ...]]] = {
    e.add: (np.add, ()),
    e.sub: (np.subtract, ()),
    e.mul: (np.multiply, ()),
    e.div: (np.true_divide, ()),
    e.neg: (np.negative, ()),
    e.greater: (np.greater, ()),
    e.less: (np.less, ()),
    e.relu: (np.maximum, (0,)),
}
LARGE = 4096  # bytes from which it pays to let go of an array before the step ends

_files = count(1)


@dataclass(frozen=True, eq=False)
class Value:
    """A value that the program computes: its name, and what it was when the program was recorded."""

    name: str
    array: Any


@dataclass(frozen=True, eq=False)
class Leaf(Value):
    """The array of a tensor that is there before the program runs. It is looked up at each use: it may be replaced."""

    tensor: Any


@dataclass(eq=False)
class Call:
    """One line: results = function(*args, **kwargs). Arguments are values of the program or constants."""

    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    results: Sequence[Value | None]  # None for what nobody gets
    several: bool = False  # whether the function returns a tuple with an item for each result
    name: str = ""  # what errors call it
    op: Op | None = None
    pure: bool = True  # whether it may be left out where nobody uses the results

    def values(self) -> Iterator[Value]:
        """The values of the program that it reads."""
        return values((self.args, self.kwargs))


def values(tree: Any) -> Iterator[Value]:
    """The values of the program in nested tuples, lists and dictionaries."""
    if isinstance(tree, Value):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from values(item)
    elif isinstance(tree, Mapping):
        yield from values(list(tree.values()))


def compile_program(name: str, calls: Sequence[Call], returned: Any) -> tuple[Callable[[], Any], str, list[str]]:
    """A function that makes the calls and returns what `returned` says; its source; and what each line is called."""
    return _Writer(name, calls, returned).written()


class _Writer:
    """Writes a program down: leaves out what nobody uses, and gives the results of NumPy's functions a fixed place."""

    def __init__(self, name: str, calls: Sequence[Call], returned: Any) -> None:
        self.name, self.returned = name, returned
        self.names: dict[str, Any] = {}
        self.calls = _used(calls, returned)
        self.last: dict[int, int] = {}  # memory: the line that reads it last
        self.escaping = {_place(value) for value in values(returned)}
        for line, call in enumerate(self.calls):
            for value in (*call.values(), *(result for result in call.results if result)):
                self.last[_place(value)] = line
            if not call.pure:  # what an effect is given it may keep
                self.escaping |= {_place(value) for value in call.values()}
        self.free: dict[Any, list[str]] = {}
        self.buffers: dict[int, tuple[Any, str]] = {}  # memory: which kind of buffer holds it, and its name
        self.alive: dict[int, list[str]] = {}  # memory: names of large values in it

    def written(self) -> tuple[Callable[[], Any], str, list[str]]:
        lines, names = [], []
        for number, call in enumerate(self.calls):
            for line in self._lines(number):
                lines.append(line)
                names.append(call.name)
        lines.append(f"return {self._text(self.returned)}")
        source = "def replay():\n" + "".join(f"    {line}\n" for line in lines)
        file = f"<captured {self.name} {next(_files)}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # for tracebacks
        exec(compile(source, file, "exec"), self.names)  # the text is ours: names, numbers and calls
        function: Callable[[], Any] = self.names["replay"]
        return function, source, [*names, "return"]

    def _lines(self, number: int) -> Iterator[str]:
        call = self.calls[number]
        yield f"{self._targets(call)}{self._expression(call)}"
        for result in call.results:
            if result is not None and getattr(result.array, "nbytes", 0) >= LARGE:
                self.alive.setdefault(_place(result), []).append(result.name)
        for place in {_place(value) for value in (*call.values(), *filter(None, call.results))}:
            if self.last[place] == number:
                kind, buffer = self.buffers.pop(place, (None, ""))
                if kind is not None:
                    self.free[kind].append(buffer)
                elif place in self.alive and place not in self.escaping:
                    yield f"del {', '.join(self.alive.pop(place))}"

    def _targets(self, call: Call) -> str:
        names = [result.name if result else "_" for result in call.results]
        if not any(call.results):
            return ""
        if call.op is not None and call.op.saves:
            return f"{names[0]}, ({', '.join(names[1:])},) = "
        return f"{', '.join(names)}{',' * call.several} = "

    def _expression(self, call: Call) -> str:
        args = [self._text(x) for x in call.args]
        result = call.results[0] if call.results else None
        if call.op in OPERATORS and result is not None and isinstance(result.array, np.generic):
            return OPERATORS[call.op].format(*args)
        function, name = call.function, call.name
        ufunc, more = INTO.get(call.op, (call.op and call.op.forward, ()))  # type: ignore[arg-type]
        if result is not None and isinstance(ufunc, np.ufunc) and self._can_be_placed(result):
            function, name = ufunc, ufunc.__name__
            args += [*map(repr, more), f"out={self._buffer(result)}"]
        args += [f"{key}={self._text(x)}" for key, x in call.kwargs.items()]
        return f"{self._named(name.split(' ')[0], function)}({', '.join(args)})"

    def _can_be_placed(self, value: Value) -> bool:
        array = value.array
        return (
            isinstance(array, np.ndarray)
            and array.ndim > 0
            and array.base is None
            and _place(value) not in self.escaping
        )

    def _buffer(self, value: Value) -> str:
        """The name of an array to write into: one whose last value is no longer needed, or a new one."""
        kind = value.array.dtype, value.array.shape, value.array.strides
        free = self.free.setdefault(kind, [])
        name = free.pop() if free else self._named("buffer", np.empty_like(value.array))
        self.buffers[_place(value)] = kind, name
        return name

    def _text(self, x: Any) -> str:
        """An argument as it is written: a value by name, a number as itself, anything else as a named constant."""
        if isinstance(x, Leaf):
            return f"{self._named('t', x.tensor)}._data"
        if isinstance(x, Value):
            return x.name
        if x is None or type(x) in (bool, int) or (type(x) is float and math.isfinite(x)):
            return repr(x)
        if type(x) in (tuple, list) and next(values(x), None) is not None:
            inside = ", ".join(map(self._text, x))
            return f"({inside},)" if type(x) is tuple else f"[{inside}]"
        if type(x) is dict and next(values(x), None) is not None:
            return "{" + ", ".join(f"{key!r}: {self._text(item)}" for key, item in x.items()) + "}"
        return self._named("c", x)

    def _named(self, name: str, thing: Any) -> str:
        """A name in the program for something outside of it."""
        name = name if name.isidentifier() else "f"
        candidate = name
        for number in count(1):
            if self.names.setdefault(candidate, thing) is thing:
                break
            candidate = f"{name}{number}"
        return candidate


def _used(calls: Sequence[Call], returned: Any) -> list[Call]:
    needed = set(values(returned))
    kept = []
    for call in reversed(calls):
        if not call.pure or not needed.isdisjoint(filter(None, call.results)):
            needed |= set(call.values())
            kept.append(call)
    return kept[::-1]


def _place(value: Value) -> int:
    return id(memory(value.array))
