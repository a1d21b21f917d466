"""Capture: a training step is watched, written down as a flat program, and replayed without building a graph.

While it is watched, every op, every application of the chain rule, and every `effect` (an optimizer's step, a draw of
random numbers, a gradient that is kept) becomes a line of the program. Replaying the lines does the same arithmetic on
the same kinds of arrays in the same order, and so gives the same results to the last bit.
"""

from __future__ import annotations

import functools
import inspect
import operator
import random as python_random
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from tinygrad_edu import random
from tinygrad_edu.autograd import describe, state
from tinygrad_edu.errors import GraphError, InputError, OutOfRangeError, ShapeError
from tinygrad_edu.functional import draw_kept
from tinygrad_edu.nn.module import Module, Parameter
from tinygrad_edu.optim import Optimizer
from tinygrad_edu.program import Call, compile_program
from tinygrad_edu.recorder import Recorder, as_argument, map_tree, refuse
from tinygrad_edu.tensor import Tensor

AnyStep = TypeVar("AnyStep", bound=Callable[..., Any])
MOST = 16  # how many times a step is recorded
Marks = list[tuple[str, list[Any]]]
_KNOWN_ERRORS = (IndexError, TypeError, ValueError, InputError, OutOfRangeError, ShapeError)
_SETTINGS = (bool, int, float, str, type(None))


def capture(step: AnyStep) -> AnyStep:
    """The same step, which from its third call on is replayed: no graph is built, none of its own Python runs.

    step: a function of arrays and tensors (in tuples, lists and dictionaries too) that runs forward and backward passes
        and optimizers. Other arguments are constants of a recording: another number is recorded anew, as are other
        shapes and dtypes, another train() or eval(), and other numbers that the step finds around it: in modules, in
        variables of its file. In dictionaries and other objects they are not looked for.
    Returns a function that gives bit for bit what the step would have. The tensors that it returns have no history.

    Replayed are ops, backward(), grad(), dropout, optimizers, schedules, clip_grad_norm_, zero_grad(), and what NumPy
    computes on an argument. Parameters and learning rates are read anew each time. What else the step does in Python,
    such as printing, it does on recorded calls only. What cannot be replayed, such as loss.item() within the step,
    raises GraphError and is named. A step is recorded on its calls 1, 2, 10, 100, 1 000 and so on, and must do the
    same each time. `step.source()` shows the program.

    >>> import tinygrad_edu as te
    >>> w = te.nn.Parameter([1.0, 2.0])
    >>> optimizer = te.optim.SGD([w], lr=0.1)
    >>> @te.capture
    ... def step(x):
    ...     loss = ((w - x) ** 2).sum()
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> [round(step(np.zeros(2, np.float32)).item(), 3) for _ in range(4)]
    [5.0, 3.2, 2.048, 1.311]
    """
    if not callable(step):
        raise InputError(
            f"capture: expected a function, the training step, got {type(step).__name__} {step!r:.40}: "
            "write te.capture(step), without calling it"
        )
    captured = _Captured(step)

    @functools.wraps(step)
    def call(*args: Any, **kwargs: Any) -> Any:
        return captured(args, kwargs)

    call.source = captured.source  # type: ignore[attr-defined]
    return cast(AnyStep, call)


class _Captured:
    """A step with its recordings, one for each kind of arguments."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step, self.name = step, getattr(step, "__name__", "step")
        self.recordings: dict[Any, _Recording] = {}
        self.number = 0
        self.lock = threading.RLock()

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if state.watchers.get():  # somebody wants to see every op, such as anomaly mode or another capture
            return self.step(*args, **kwargs)
        with self.lock:
            given: list[Any] = []
            kind = state.recording.get(), _kind((args, kwargs) if kwargs else args, given)
            recording = self.recordings.get(kind)
            if recording is None or not recording.holds():
                recording = self.recordings[kind] = self._new_recording(args, kwargs)
            return recording(given)

    def _new_recording(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Recording:
        self.number += 1
        if self.number > MOST:
            raise GraphError(
                f"capture: {self.name} was recorded {MOST} times, each time for other shapes, numbers or settings. "
                "Pass what changes from call to call as an array, or do not capture the step"
            )
        return _Recording(self.step, self.name, args, kwargs)

    def source(self) -> str:
        """The programs that replay the step, as Python."""
        return "\n".join(recording.source for recording in self.recordings.values())


def _kind(tree: Any, arrays: list[Any]) -> Any:
    """What the arguments of two calls must agree in to run the same program; collects the arrays among them."""
    if isinstance(tree, np.ndarray):
        arrays.append(tree)
        return tree.shape, tree.dtype, tree.strides
    if isinstance(tree, tuple):
        return tuple([_kind(item, arrays) for item in tree])
    if isinstance(tree, (list, dict)):
        items = list(tree.items()) if isinstance(tree, dict) else tree
        return type(tree), tuple([_kind(item, arrays) for item in items])
    if _is_array(tree):
        arrays.append(tree)
        return type(tree), tree.shape, tree.dtype, getattr(tree, "requires_grad", None)
    return (type(tree), repr(tree)) if isinstance(tree, _SETTINGS) else id(tree)


def _is_array(x: Any) -> bool:
    """Whether an argument may have other elements at each call. A parameter, which optimizers know, is one thing."""
    return isinstance(x, (np.ndarray, np.generic, Tensor)) and not isinstance(x, Parameter)


class _Recording:
    """A step with one kind of arguments, which are copied to where its program reads them: watched, then replayed."""

    def __init__(self, step: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.step, self.name, self.source = step, name, ""
        self.given = args, kwargs  # so that nothing else gets the id of one of them
        self.stand_ins: list[tuple[Any, np.ndarray]] = []
        self.arguments = map_tree((args, kwargs), self._stand_in)
        self.surroundings: _Surroundings | None = None
        self.calls, self.again = 0, 10
        self.marks: Marks = []
        self.fresh: list[Tensor] = []
        self.program: Callable[[], Any] | None = None
        self.names: list[str] = []

    def _stand_in(self, given: Any) -> Any:
        """What the step gets instead of an argument: the same kind of thing, in memory of its own."""
        if not _is_array(given):
            return given
        array = np.empty_like(np.asarray(getattr(given, "_data", given)), subok=False)
        stand_in: Any = as_argument(array)
        if isinstance(given, Tensor):
            stand_in = Tensor.wrap(array)
            stand_in.requires_grad = given.requires_grad
        self.stand_ins.append((stand_in, array))
        return stand_in

    def holds(self) -> bool:
        """Whether all that was taken for a constant is still as it was."""
        return self.surroundings is None or self.surroundings.hold()

    def __call__(self, given: list[Any]) -> Any:
        tensors = []
        for (stand_in, array), x in zip(self.stand_ins, given, strict=True):
            if isinstance(x, Tensor):
                if x.op is not None:
                    raise GraphError(
                        f"capture: an argument of {self.name} has a history ({describe(x)}), where a replay does not "
                        "reach: pass x.detach(), or compute it within the step"
                    )
                tensors.append((stand_in, x))
                stand_in._grad, x = x._grad, x._data
            np.copyto(array, x)
        try:
            self.calls += 1
            if self.program is None or self.calls == self.again:
                self.again *= 10 if self.calls == self.again else 1
                return self._watch(tensors)
            return self._replay(self.program)
        finally:
            for stand_in, x in tensors:
                x._grad = stand_in._grad

    def _watch(self, tensors: Sequence[tuple[Tensor, Tensor]]) -> Any:
        """Run the step itself, and write down what it does."""
        recorder, (args, kwargs) = Recorder([array for _, array in self.stand_ins]), self.arguments
        before, chance = _Surroundings(self.step), _Chance()
        earlier, self.marks = self.marks, []
        self.program = None  # it gives its buffers back; whatever goes wrong now, it is not replayed any more
        with recorder:
            result = self.step(*args, **kwargs)
            recorder.result = map_tree(result, recorder.returned)
        before.refuse_changes()
        _refuse_optimized([x for _, x in tensors], recorder.calls)
        chance.refuse_other_draws(recorder.calls)
        marks = recorder.marks()
        if earlier:
            _refuse_differences(earlier, marks)
            self.program, self.source, self.names = compile_program(self.name, recorder.calls, recorder.result)
            self.fresh = recorder.fresh
        self.marks = marks
        self.surroundings = _Surroundings(self.step, recorder.roots.values(), recorder.leaves.values())
        recorder.forget()
        return map_tree(result, lambda x: _without_history(x, recorder))

    def _replay(self, program: Callable[[], Any]) -> Any:
        for tensor in self.fresh:
            tensor._grad = None  # the step would have made a new one
        try:
            return program()
        except _KNOWN_ERRORS as error:
            line = error.__traceback__ and error.__traceback__.tb_next
            if line is None or type(error) not in _KNOWN_ERRORS:
                raise
            raise type(error)(f"{self.names[line.tb_lineno - 2]}: {error}") from None  # which op it was


def _refuse_optimized(arguments: Sequence[Tensor], calls: Sequence[Call]) -> None:
    """Raise if an optimizer within the step moves an argument: it would not see the gradients of the stand-in."""
    optimizers = [call.args[0] for call in calls if call.args and isinstance(call.args[0], Optimizer)]
    moved = {id(p) for optimizer in optimizers for group in optimizer.groups for p in group["params"]}
    if any(id(x) in moved for x in arguments):
        refuse("an optimizer moves an argument of the step", "Make it an nn.Parameter, or take it from outside")


def _without_history(x: Any, recorder: Recorder) -> Any:
    """A result of the step itself, as a replay will return it."""
    if isinstance(x, Tensor):
        return x if x.time < recorder.start else Tensor.wrap(np.array(x._data) if np.ndim(x._data) else x._data)
    return np.array(x) if isinstance(x, np.ndarray) else x


# What a recording takes for granted ----------------------------------------------------------------------------------


class _Surroundings:
    """What a step finds around it: in closures and globals of its file, in the modules it calls, in its parameters."""

    def __init__(self, step: Callable[..., Any], modules: Iterable[Any] = (), leaves: Iterable[Tensor] = ()) -> None:
        self.modules, self.leaves = list(modules), list(leaves)
        kinds = {type(module) for root in self.modules for module in root.modules()}
        function = getattr(step, "__func__", step)
        functions = _functions(function, (kind.forward for kind in kinds))
        self.cells = {(name, id(cell)): cell for each in functions for name, cell in _cells(each)}
        self.globals = getattr(function, "__globals__", {})
        self.names = sorted({name for each in functions for name in _names(each.__code__)} & self.globals.keys())
        self.owner = getattr(getattr(step, "__self__", None), "__dict__", {})
        self.things, self.flags, self.settings = self._things(), self._flags(), self._settings()
        self.counted = Module._settings

    def _things(self) -> list[Any]:
        contents = [cell.cell_contents for cell in self.cells.values()]
        return contents + [self.globals.get(name) for name in self.names] + list(self.owner.values())

    def _flags(self) -> list[bool]:
        return [leaf.requires_grad for leaf in self.leaves]

    def _settings(self) -> tuple[Any, ...]:
        """The attributes of the modules; of tensors those that the step reads, as it may keep others there."""
        inside = [module for root in self.modules for module in root.modules()]
        items = [item for module in inside for item in vars(module).items() if item[0] != "_scopes"]
        read = set(map(id, self.leaves))
        return tuple((name, x) for name, x in items if not isinstance(x, Tensor) or id(x) in read)

    def hold(self) -> bool:
        """Whether they are still the same."""
        things = self._things()
        if not all(map(operator.is_, things, self.things)) and self._changed(things):
            return False
        if self.flags != self._flags():
            return False
        if self.counted != Module._settings:  # some module got an attribute
            if not _same(self.settings, self._settings()):
                return False
            self.counted = Module._settings
        return True

    def _changed(self, things: list[Any]) -> list[str]:
        names = [*(name for name, _ in self.cells), *self.names, *(f"self.{name}" for name in self.owner)]
        pairs = zip(names, things, self.things, strict=False)
        return [name for name, x, y in pairs if not _same(x, y)]

    def refuse_changes(self) -> None:
        """Raise if the step has changed one of them itself."""
        changed = self._changed(self._things())
        if changed:
            refuse(f"the step changes {', '.join(changed)}", "Do it outside of the step")


def _same(x: Any, y: Any) -> bool:
    """Whether two are one thing, or equal numbers or texts, or tuples of such."""
    if isinstance(x, tuple) and isinstance(y, tuple):
        return len(x) == len(y) and all(map(_same, x, y))
    return x is y or (isinstance(x, _SETTINGS) and type(x) is type(y) and repr(x) == repr(y))


def _functions(step: Any, others: Iterable[Any]) -> list[Any]:
    """The step, the others, and what they may call, as far as it stands in the file of the step."""
    file = getattr(step, "__globals__", None)
    found: list[Any] = []
    waiting = [step, *others]
    while waiting:
        function = waiting.pop()
        if inspect.isfunction(function) and function.__globals__ is file and function not in found:
            found.append(function)
            waiting += [cell.cell_contents for _, cell in _cells(function)]
            waiting += [function.__globals__.get(name) for name in _names(function.__code__)]
    return found


def _cells(function: Any) -> list[tuple[str, Any]]:
    """What a function finds in the functions around it, as far as it is there yet."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return [(name, cell) for name, cell in cells if _filled(cell)]


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _names(code: Any) -> set[str]:
    """The global names that a function uses, and those within it."""
    inner = (_names(each) for each in code.co_consts if inspect.iscode(each))
    return set(code.co_names).union(*inner)


class _Chance:
    """The state of all generators of random numbers when a recording begins."""

    def __init__(self) -> None:
        self.ours, self.others = random.generator(), self._others()
        self.before = self.ours.bit_generator.state

    @staticmethod
    def _others() -> Any:
        _, numbers, position, *rest = np.random.get_state()
        return python_random.getstate(), np.asarray(numbers).tobytes(), position, rest

    def refuse_other_draws(self, calls: Sequence[Call]) -> None:
        """Raise if more was drawn than what dropout drew, which the program draws too."""
        same = np.random.Generator(type(self.ours.bit_generator)())
        same.bit_generator.state = self.before
        for call in calls:
            if call.function is draw_kept.__wrapped__:  # type: ignore[attr-defined]
                same.random(call.args[0], dtype=np.float32)
        if repr(same.bit_generator.state) != repr(random.generator().bit_generator.state) or (
            self.others != self._others()
        ):
            refuse("the step draws random numbers outside of dropout", "Draw them before, and pass them as an argument")


# Did the step do the same twice? -------------------------------------------------------------------------------------


def _refuse_differences(first: Marks, now: Marks) -> None:
    """Raise, and say where, if two recordings of a step differ."""
    for number, ((name, inputs), (new_name, new_inputs)) in enumerate(zip(first, now, strict=False)):
        if name != new_name or len(inputs) != len(new_inputs):
            refuse(
                f"line {number + 1} of the step was {name} at first, and is now {new_name}",
                "Use te.where instead of an if, and make what the step depends on an argument",
            )
        for position, (x, y) in enumerate(zip(inputs, new_inputs, strict=True)):
            if x != y:
                refuse(
                    f"{name}: input {position} changes from call to call ({_shown(x)}, now {_shown(y)}), and is "
                    "neither an argument of the step nor computed by ops",
                    "Make it an argument, as an array",
                )


def _shown(mark: Any) -> str:
    """What differs: a number, or the type and shape of an array."""
    return str(mark[-1] if isinstance(mark, tuple) else mark)
