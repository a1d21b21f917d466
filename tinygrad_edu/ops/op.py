"""Op: one differentiable operation, its forward, its vector-Jacobian products and their formulas side by side.

An op knows arrays and nothing else. Whoever wants to see it applied to something richer (a Tensor that records, a
Symbol that prints) gives that type a method `__apply_op__(op, inputs, options)`: calling the op hands the call over, as
NumPy hands a ufunc over to `__array_ufunc__`. That is what lets one rule run on arrays, on Tensors and on symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

Rule = Callable[..., Any]


class _Rules(dict[int, "Rule | None"]):
    """The rule for each input by its number; made on demand for an op that takes any number of them."""

    def __init__(self, op: str, vjp: tuple[Rule | None, ...] | Rule) -> None:
        super().__init__({} if callable(vjp) else enumerate(vjp))
        self.op, self.vjp = op, vjp

    def __missing__(self, index: int) -> Rule | None:
        if callable(self.vjp):
            return self.setdefault(index, partial(self.vjp, index=index))
        if not self.vjp:
            return None
        raise TypeError(f"{self.op}: vjp has {len(self.vjp)} rules, so none for input {index} (None would do)")


@dataclass(frozen=True, eq=False, slots=True)
class Op:
    """y = forward(*inputs, **options), and for each input the rule that carries a gradient back through it.

    A rule is the vector-Jacobian product dL/dinput = rule(g, y, *inputs, *saved, **options), where g (printed G) is the
    gradient dL/dy that arrives and y the output. It is written with operators and other ops only, so that it runs on
    arrays, on Tensors (the backward pass is then itself a graph) and on symbols (the rule prints itself). A rule never
    undoes broadcasting: whatever it returns is summed to the input's shape where it arrives.

    name: what pictures and errors call it.
    forward: the kernel on arrays. With `saves`, it returns (y, saved), saved a tuple of arrays kept for the rules.
    vjp: one rule per input (None: not differentiable in it), or one function for all inputs of an op that takes any
        number of them; that one is told `index=`. An empty tuple: not differentiable at all.
    formula: what each rule prints; a test runs the rules on symbols and compares.
    notation: how the result is written, such as "{} ⊙ {}"; the default is name(inputs).
    saves: the printed names of what the forward pass keeps for the backward pass.
    backward: a faster kernel, on arrays, that computes the products of all inputs at once:
        backward(g, y, *inputs, *saved, needed=(True, False, ...), **options) -> one array or None per input.
    compose: the same function written in other ops. The tests hold the kernels against it, higher derivatives go
        through it, and a picture can open it.
    hint: a function of the inputs and options that says, after a failure, what to do about it.

    rules: from the number of an input to its rule, or to None where the op is not differentiable in it.
    differentiable: whether any gradient can flow through this op.

    >>> cube = Op("cube", lambda x: x**3, vjp=(lambda g, y, x: g * (3 * x**2),), formula=("G ⊙ 3 ⊙ x²",))
    >>> cube(np.array([1.0, 2.0]))
    array([1., 8.])
    """

    name: str
    forward: Callable[..., Any]
    vjp: tuple[Rule | None, ...] | Rule = ()
    formula: tuple[str, ...] = ()
    notation: str = ""
    saves: tuple[str, ...] = ()
    backward: Callable[..., Any] | None = None
    compose: Callable[..., Any] | None = None
    hint: Callable[..., str] | None = None
    rules: Mapping[int, Rule | None] = field(init=False)
    differentiable: bool = field(init=False)

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable():
            raise ValueError(
                f"the name of an op is shown in pictures and errors, so it must be printable: {self.name!r}"
            )
        if self.vjp == () and (self.backward or self.compose):
            raise TypeError(f"{self.name}: backward= and compose= only add to the rules: say what these are with vjp=")
        object.__setattr__(self, "rules", _Rules(self.name, self.vjp))
        object.__setattr__(self, "differentiable", callable(self.vjp) or any(self.vjp))

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Apply the op: on arrays the result is an array; an input with `__apply_op__` decides for itself."""
        for value in inputs:
            apply = getattr(value, "__apply_op__", None)
            if apply is not None:
                return apply(self, inputs, options)
        result = self.forward(*inputs, **options)
        return result[0] if self.saves else result

    def rule(self, index: int) -> Rule | None:
        """The vector-Jacobian product for input number `index`, or None where the op is not differentiable in it."""
        return self.rules[index]

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def describe(value: Any) -> str:
    """A value as error messages and labels show it: `float32 (4, 3)` for an array, itself for a number."""
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{value.dtype} {value.shape}"
    return repr(value)


def shapes(*values: Any) -> str:
    """The shapes of several inputs, as in `(4, 3) and (4, 2)`."""
    return " and ".join(str(np.shape(value)) for value in values)
