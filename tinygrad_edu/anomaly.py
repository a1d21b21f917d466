"""Where NaN and infinity are born: the first op whose result is not a number although its inputs were.

NaN is never right. Infinity is right where it was put on purpose: what an op inherits from an input, such as the -inf
of a mask, is no anomaly; what it makes from finite inputs is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_edu.autograd import Step, state
from tinygrad_edu.autograd import describe as describe_value
from tinygrad_edu.errors import AnomalyError
from tinygrad_edu.ops import elementwise
from tinygrad_edu.ops.op import Op
from tinygrad_edu.origins import lines, record_lines, where

_ELEMENTWISE = frozenset(op for op in vars(elementwise).values() if isinstance(op, Op))


class detect_anomaly(record_lines):
    """Inside, the first op that makes NaN or infinity, forward or backward, raises AnomalyError and is explained.

    NumPy's own warnings about such values are silent meanwhile. Outside it costs nothing. Include the forward pass, so
    that an op that fails in the backward pass is found in your program.

    >>> import tinygrad_edu as te
    >>> with te.detect_anomaly():
    ...     te.Tensor([1.0, 0.0]).log()
    Traceback (most recent call last):
        ...
    tinygrad_edu.errors.AnomalyError: log (2,) made -inf (1 of 2 elements, the first at (1,)) from finite inputs
      input 0: float32 (2,) from 0 to 1; there 0
      in your program: ...
      what to do: the logarithm of 0 is -inf, ...
    """

    def __enter__(self) -> Any:
        self._silence = np.errstate(all="ignore")
        self._silence.__enter__()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._silence.__exit__(None, None, None)

    def applied(self, op: Op, inputs: Sequence[Any], options: dict[str, Any], output: Any) -> None:
        """Look at what an op made."""
        super().applied(op, inputs, options, output)
        scope = state.scope.get()
        path = scope.path if scope is not None else ""
        found = born_forward(op, inputs, options, output, path)
        if found:
            raise AnomalyError(found)

    def pulled_back(self, step: Step) -> None:
        """Look at what a rule made."""
        found = born_backward(step)
        if found:
            raise AnomalyError(found)


def born_forward(op: Op, inputs: Sequence[Any], options: dict[str, Any], output: Any, path: str) -> str:
    """What is wrong with the output of an op, in words; nothing where it is as good as the inputs."""
    result = np.asarray(output._data)
    sources = [(f"input {i}", x) for i, x in enumerate(inputs) if x is not None]
    arrays = [np.asarray(getattr(x, "_data", x)) for _, x in sources]
    wrong = _made(result, arrays, options, op in _ELEMENTWISE)
    if wrong is None:
        return ""
    what = f"{op.name} {result.shape}{f' in {path}' if path else ''} made"
    return _report(what, result, wrong, sources, arrays, _advice(op, arrays), where(output))


def born_backward(step: Step) -> str:
    """What is wrong with a contribution, in words; nothing where it is as good as what the rule was given."""
    result, output = np.asarray(_array(step.contribution)), step.output
    sources = [("G (what arrives)", step.upstream), ("y (its output)", output)]
    sources += [(f"input {i}", x) for i, x in enumerate(output.inputs) if x is not None]
    arrays = [np.asarray(_array(x)) for _, x in sources]
    wrong = _made(result, arrays, step.output.options, False)
    if wrong is None:
        return ""
    what = f"backward of {describe_value(output)}: the gradient of input {step.index} became"
    zero_times_infinity = not any(np.isnan(x).any() for x in arrays if x.dtype.kind == "f") and np.isnan(result).any()
    advice = _advice(step.op, arrays[2:])
    if zero_times_infinity and not np.asarray(_array(step.upstream)).all():
        advice = (
            "0 times infinity: no gradient arrives there (a mask or a where behind it chose otherwise), and the slope "
            "is infinite. Put a safe value in first: x = te.where(mask, x, 1.0), then the op, then the where you have"
        )
    line = where(output) if lines.get(output) else " (open detect_anomaly around the forward pass to see the line)"
    return _report(what, result, wrong, sources, arrays, advice, line)


def _array(value: Any) -> Any:
    return getattr(value, "_data", value)


def _made(result: Any, arrays: list[Any], options: dict[str, Any], elementwise_op: bool) -> Any:
    """Where the result is NaN, or else infinite without having inherited that; None where nothing is wrong."""
    if result.dtype.kind != "f" or np.isfinite(result).all():
        return None
    wrong = np.isnan(result)
    if wrong.any():
        return wrong
    if any(isinstance(value, float) and np.isinf(value) for value in options.values()):
        return None  # masked_fill(mask, -inf)
    given = [np.isinf(x) for x in arrays if x.dtype.kind == "f"]
    if not elementwise_op:
        return None if any(x.any() for x in given) else np.isinf(result)
    inherited = np.logical_or.reduce([np.broadcast_to(x, result.shape) for x in given]) if given else False
    made = np.isinf(result) & ~np.asarray(inherited)
    return made if made.any() else None


def _report(
    what: str, result: Any, wrong: Any, sources: list[tuple[str, Any]], arrays: list[Any], advice: str, line: str
) -> str:
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    bad = [name for (name, _), x in zip(sources, arrays, strict=True) if x.dtype.kind == "f" and np.isnan(x).any()]
    value = f"{result[place]:g}".replace("nan", "NaN")
    of = f" ({np.count_nonzero(wrong)} of {result.size} elements, the first at {place})" if result.ndim else ""
    origin = "from finite inputs"
    if bad:
        origin = f"because {' and '.join(bad)} {'are' if len(bad) > 1 else 'is'} NaN already"
    elif any(not np.isfinite(x).all() for x in arrays if x.dtype.kind == "f"):
        origin = "from inputs that hold infinity"
    rows = [f"{what} {value}{of} {origin}"]
    rows += [f"  {name}: {_range(x, result.shape, place)}" for (name, _), x in zip(sources, arrays, strict=True)]
    rows += [f"  in your program:{line.removeprefix(' at')}"] if line else []
    rows += [f"  what to do: {_source_advice(sources, arrays) if bad else advice}"]
    return "\n".join(rows)


def _range(array: Any, shape: tuple[int, ...], place: tuple[int, ...]) -> str:
    """An array as `float32 (2, 3) from -1 to 2; there 0.5`, where one of its elements went into the wrong one."""
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    words = f"{array.dtype} {array.shape}" if array.ndim else ""
    if finite.size and array.ndim:
        words += f" from {finite.min():g} to {finite.max():g}"
    if array.size != finite.size and array.ndim:
        kinds = {"NaN": np.isnan(array), "inf": np.isposinf(array), "-inf": np.isneginf(array)}
        words += "".join(f", {np.count_nonzero(x)} of {array.size} {kind}" for kind, x in kinds.items() if x.any())
    if not array.ndim:
        return f"{array.item():g}".replace("nan", "NaN")
    if array.shape == shape:
        words += f"; there {array[place]:g}".replace("nan", "NaN")
    return words


def _source_advice(sources: list[tuple[str, Any]], arrays: list[Any]) -> str:
    """What to do about NaN that came in from outside."""
    for (_, x), array in zip(sources, arrays, strict=True):
        if array.dtype.kind == "f" and np.isnan(array).any():
            if getattr(x, "op", None) is not None:
                return f"look further up: {describe_value(x)} was made before detect_anomaly was opened"
            if getattr(x, "requires_grad", False):
                return (
                    "a parameter is NaN: an optimizer step made it so. Lower the learning rate, or clip the gradients"
                )
    return "it is in the data, or in the gradient that was passed in: look at it with np.isnan(...).nonzero()"


# What usually lies behind it, op by op.
_LARGE = "the numbers are too large for their dtype. If they grow from step to step, lower the learning rate, "
_ADVICE = {
    "log": "the logarithm of 0 is -inf, of a negative number NaN. Keep its input above 0, as in (x + 1e-8).log(); for "
    "probabilities use F.log_softmax or F.cross_entropy on the logits",
    "log1p": "log(1 + x) is -inf at -1 and NaN below: keep its input above -1",
    "sqrt": "the root of a negative number is NaN, and its slope at 0 infinite: write (x + 1e-12).sqrt(); F.norm and "
    "std take the slope 0 there",
    "div": "a division by 0: add a small number to the divisor, or choose with te.where before dividing",
    "pow": "0 to a negative power is infinite, as is the slope of a power below 1 at 0; a negative number to a "
    "fraction is NaN: keep the base above 0",
    "exp": "exp overflows above 88 in float32 (709 in float64): F.softmax, F.logsumexp and F.sigmoid do not",
    "cross_entropy": "no target is left to average over: every one equals ignore_index",
}
_ADVICE |= {"expm1": _ADVICE["exp"], **dict.fromkeys(("mean", "var", "std"), "there is no element to average over")}


def _advice(op: Op, arrays: Sequence[Any]) -> str:
    if op.name in ("mean", "var", "std", "cross_entropy"):
        if any(np.size(x) and np.max(np.abs(x), initial=0) > 1e4 for x in arrays if x.dtype.kind == "f"):
            return _LARGE + "or clip the gradients"
    elif op.name not in _ADVICE:
        if any(np.isinf(x).any() for x in arrays if x.dtype.kind == "f"):
            return (
                "infinity minus infinity, or times 0, is NaN: mask with te.where after the op, or with a finite number"
            )
        return _LARGE + "clip the gradients, or normalise the data"
    return _ADVICE[op.name]
