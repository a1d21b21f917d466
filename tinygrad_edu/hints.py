"""NumPy's errors in the user's terms: the op, the module, all shapes, what is wrong and what to do about it.

An op's own `hint` knows most. What is here holds for all ops: axes, broadcasting, what is no array, what has no meaning
for a dtype.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_edu.errors import InputError, OutOfRangeError, ShapeError
from tinygrad_edu.ops.elementwise import broadcast_hint
from tinygrad_edu.ops.op import Op, describe

_NO_MEANING = ("numpy boolean", "not supported for the input types", "did not contain a loop", "cast ufunc")
_AXES = ("axis", "axis1", "axis2")
# PyTorch's options -> NumPy's, and so ours.
_OTHER_NAMES = {"dim": "axis", "dims": "axis", "keepdim": "keepdims", "correction": "ddof", "unbiased": "ddof"}
_OTHER_NAMES |= {"diagonal": "k"}


def explained(op: Op, values: Sequence[Any], options: dict[str, Any], error: Exception, where: str) -> Exception:
    """The error to raise instead of what a kernel raised. `where` is ` (in layers.0)`, or nothing outside a module."""
    wrong = wrong_option(options)
    hint = wrong or wrong_input(values, error) or _axis_hint(options, error) or _own_hint(op, values, options)
    hint = hint or _general_hint(values, options, error)
    got = ", ".join(describe(value) for value in values)
    message = f"{op.name}{where}: {hint} [got {got}]"
    if isinstance(error, OutOfRangeError):
        return OutOfRangeError(f"{op.name}{where}: {error} [got {got}]")
    if op.name in ("getitem", "scatter") and isinstance(error, IndexError):  # what x[9] is expected to raise
        return OutOfRangeError(message)
    unlike = wrong or isinstance(error, (TypeError, AttributeError)) or wrong_input(values, error)
    return InputError(message) if unlike else ShapeError(message)


def wrong_option(options: dict[str, Any]) -> str:
    """Which option is no number, or no tuple of numbers, where it should be one."""
    for name in _AXES:
        if name in options and not _whole(options[name], none=name == "axis"):
            return f"{name} must be a whole number or a tuple of them, got {options[name]!r:.60}"
    for name in ("shape", "axes"):
        if name in options and not (isinstance(options[name], tuple) and _whole(options[name])):
            return f"{name} must be whole numbers, got {options[name]!r:.60}"
    texts = [f"{k}={v!r}" for k, v in options.items() if isinstance(v, str) and k not in ("reduction", "subscripts")]
    return f"expected numbers, got {', '.join(texts)}" if texts else ""


def unknown_option(given: Mapping[str, Any]) -> str:
    """Which options there are not, and their names here if PyTorch has them."""
    wrong = " and ".join(f"{name}={value!r:.40}" for name, value in given.items())
    ours = " and ".join(f"{_OTHER_NAMES[name]}={value!r:.40}" for name, value in given.items() if name in _OTHER_NAMES)
    return f"there is no option {wrong}" + (f": write {ours}, as in NumPy" if ours else "")


def _whole(value: Any, none: bool = False) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_whole, value))
    return (none and value is None) or (hasattr(value, "__index__") and np.ndim(value) == 0)


def wrong_input(values: Sequence[Any], error: Exception) -> str:
    """Which input is no array, or one of a dtype that the op has no meaning for."""
    if "Integers to" in str(error):
        return "whole numbers to a negative power: write x.astype(float)"
    if isinstance(error, OverflowError):
        return f"{error}: convert it first, as in x.astype(np.float32)"
    wrong_kind = isinstance(error, (TypeError, AttributeError))
    numbers = [value for value in values if value is not None and not hasattr(value, "dtype")]
    if numbers and wrong_kind and (isinstance(error, AttributeError) or len(numbers) == len(values)):
        return "expected tensors or arrays throughout: write Tensor(...) around a number"
    lost = wrong_kind or isinstance(error, np.exceptions.AxisError)
    if values and (values[0] is None or (lost and any(value is None for value in values))):
        return "expected a tensor, got None: does a function that should return one end without `return`?"
    if not wrong_kind:
        return ""
    kinds = {value.dtype.kind for value in values if hasattr(value, "dtype")}
    if kinds and (kinds <= set("bui") or any(words in str(error) for words in _NO_MEANING)):
        return f"has no meaning for {' and '.join(_dtypes(values))}: convert it first, as in x.astype(np.float32)"
    return f"forward must return an array ({error})" if isinstance(error, AttributeError) else ""


def _dtypes(values: Sequence[Any]) -> list[str]:
    return sorted({str(value.dtype) for value in values if hasattr(value, "dtype")})


def _axis_hint(options: dict[str, Any], error: Exception) -> str:
    """What axes there are."""
    if isinstance(error, np.exceptions.AxisError) and error.axis is not None and error.ndim is not None:
        return f"there is no axis {error.axis}: {axes_of(error.ndim)}"
    for name in _AXES:
        several = options.get(name)
        if isinstance(several, tuple) and isinstance(error, TypeError):
            return f"{name} must be a single whole number here, got {several}"
        if isinstance(several, tuple) and len(set(several)) < len(several):
            return f"axis {several} names an axis twice"
    return ""


def axes_of(ndim: int) -> str:
    """Which axes an array of so many has."""
    if not ndim:
        return "a single number has no axes; leave the axis out, or give it one with expand_dims"
    if ndim == 1:
        return "its only axis is 0, or -1 counted from the end"
    return f"its {ndim} axes are 0 to {ndim - 1}, or -{ndim} to -1 counted from the end"


def _own_hint(op: Op, values: Sequence[Any], options: dict[str, Any]) -> str:
    try:
        return op.hint(*values, **options) if op.hint else ""
    except AttributeError:
        return "expected tensors or arrays throughout: write Tensor(...) around a number"
    except (TypeError, ValueError, IndexError):  # the hint, too, needs better inputs
        return ""


def _general_hint(values: Sequence[Any], options: dict[str, Any], error: Exception) -> str:
    hint = broadcast_hint(*values)
    if hint:
        return hint
    if isinstance(error, IndexError) and isinstance(options.get("axis"), int):
        return f"there is no axis {options['axis']}: {axes_of(np.ndim(values[0]))}"
    return str(error)
