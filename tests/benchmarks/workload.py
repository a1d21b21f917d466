"""What a workload is: one problem, and the peers that each solve it in their own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Step = Callable[[], float]  # one whole training step; returns its loss
Build = Callable[[Any], Step]  # a peer: takes the problem, imports its framework, returns the step

OURS, CAPTURED, REFERENCE = "tinygrad_edu", "tinygrad_edu, captured", "PyTorch"


@dataclass(frozen=True)
class Workload:
    """A problem with equal initial weights and equal data for all of its peers."""

    name: str
    title: str
    problem: Callable[..., Any]  # draws weights and data, always the same ones
    peers: Mapping[str, Build]
    tolerance: float = 1e-3  # how far the losses may lie apart, relative to the reference's
    sizes: Mapping[str, Any] = field(default_factory=dict)  # what `problem` is called with
    work: int = 1  # how many units (tokens) one step produces
    unit: str = "step"


def cycle(batches: list[Any]) -> Callable[[], Any]:
    """A function that returns the batches in turn, for ever."""
    position = -1

    def following() -> Any:
        nonlocal position
        position = (position + 1) % len(batches)
        return batches[position]

    return following


def torch_batches(batches: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """NumPy batches as PyTorch holds them."""
    import torch

    return [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in batches]
