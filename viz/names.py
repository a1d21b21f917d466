"""What the tensors and modules of a picture are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_edu.nn import Module, Parameter
from tinygrad_edu.tensor import Tensor
from viz import text

# The layers whose parameters can be told by their place among the inputs of an op.
_LAYERS = {"Linear": ("", "weight", "bias"), "LayerNorm": ("", "weight", "bias"), "Embedding": ("", "weight")}


def chosen(names: Mapping[str, Any]) -> dict[str, Any]:
    """The names that somebody chose: without _, __ and _12, as Python and notebooks call earlier results."""
    if not isinstance(names, Mapping) or not all(isinstance(key, str) for key in names):
        raise TypeError("viz: names= takes a dict from names to tensors and modules, such as locals()")
    return {key: value for key, value in names.items() if not re.fullmatch(r"_+\d*", key)}


def choose_names(tensors: list[Tensor], root: Tensor, names: Mapping[str, Any]) -> dict[Tensor, str]:
    """The name of each tensor: its own, the user's, its path in a module the user named, or a short new one."""
    known: dict[Tensor, str] = {}
    arrays = {id(tensor._data): tensor for tensor in tensors if tensor.op is None}
    for key, value in names.items():
        if isinstance(value, Tensor):
            known.setdefault(value, key)
        elif isinstance(value, np.ndarray) and id(value) in arrays:  # such as labels, which an op made a tensor of
            known.setdefault(arrays[id(value)], key)
    for key, value in names.items():
        if isinstance(value, Module):
            for path, parameter in value.named_parameters():
                known.setdefault(parameter, f"{key}.{path}")
    known = _paths(tensors) | known
    result: dict[Tensor, str] = {}
    taken: dict[str, int] = {}
    unnamed: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        raw = tensor.name or known.get(tensor)
        if raw is None:
            unnamed.setdefault(_stem(tensor, root), []).append(tensor)
            continue
        name = text.name(raw)
        taken[name] = taken.get(name, 0) + 1
        result[tensor] = name if taken[name] == 1 else f"{name} ({taken[name]})"
    for stem, members in unnamed.items():
        free = (
            name for n in range(len(members) + len(taken) + 1) if (name := _numbered(stem, n, members)) not in taken
        )
        result.update(zip(members, free))
    return result


def _paths(tensors: list[Tensor]) -> dict[Tensor, str]:
    """The paths of the parameters of built-in layers, such as layers.0.weight, from where they were used."""
    paths: dict[Tensor, str] = {}
    for tensor in tensors:
        if tensor.scope is not None and tensor.scope.path:
            places = _LAYERS.get(tensor.scope.label.partition("(")[0], ())
            for place, source in zip(places, tensor.inputs, strict=False):
                if isinstance(source, Parameter):
                    paths.setdefault(source, f"{tensor.scope.path}.{place}")
    return paths


def _stem(tensor: Tensor, root: Tensor) -> str:
    if tensor is root and tensor.op is not None:
        return "L" if not tensor.shape else "y"
    return {"op": "h", "parameter": "w", "variable": "x", "data": "d"}[kind_of(tensor)]


def _numbered(stem: str, count: int, members: list[Tensor]) -> str:
    """x if it is the only one, else x₁, x₂, ..."""
    if len(members) == 1:
        return text.name(f"{stem}{count}") if count else stem
    return text.name(f"{stem}{count + 1}")


def kind_of(tensor: Tensor) -> str:
    """Op for what was recorded; leaves are parameters, variables (with a gradient) or data (without)."""
    if tensor.op is not None:
        return "op"
    if isinstance(tensor, Parameter):
        return "parameter"
    return "variable" if tensor.requires_grad else "data"
