"""What to draw: a tensor as it is, or a model, which is called once for its output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tinygrad_edu as te
from tinygrad_edu.nn import Module
from tinygrad_edu.tensor import Tensor
from viz.names import chosen


def output_of(root: Any, inputs: tuple[Any, ...], names: Mapping[str, Any] | None) -> tuple[Tensor, dict[str, Any]]:
    """The tensor to draw, and the names for what it was computed from.

    Raises TypeError if it is neither a tensor nor a model with its inputs.
    """
    known = chosen(names or {})
    if isinstance(root, Tensor) and not inputs:
        return root, known
    if not isinstance(root, Module):
        got = f"a {type(root).__name__} and {len(inputs)} more" if inputs else type(root).__name__
        raise TypeError(f"viz: expected a Tensor, such as the loss, or a model and its inputs, got {got}")
    if not inputs:
        raise TypeError(f"viz: to draw a {type(root).__name__}, pass its inputs too, as in viz.draw(model, x)")
    with te.enable_grad():
        output = root(*inputs)
    if not isinstance(output, Tensor):
        raise TypeError(
            f"viz: the model returned a {type(output).__name__}, not a Tensor: draw one of its results instead, "
            "as in viz.draw(model(x)[0])"
        )
    for name, value in [("model", root), *zip(_names(len(inputs)), inputs, strict=True), ("y", output)]:
        if not any(value is other for other in known.values()):
            known.setdefault(name, value)
    return output, known


def _names(count: int) -> list[str]:
    return ["x"] if count == 1 else [f"x{n}" for n in range(1, count + 1)]
