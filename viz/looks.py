"""How the cells of a heat map are to be read: attention as a square for each head, weights as shares, masks grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from viz.parts import Card
from viz.text import FEW

_WEIGHTS = ("softmax", "attention_weights")


@dataclass(frozen=True)
class Look:
    """Of one tensor, or of a tensor and its gradient."""

    masked: Any = None  # where there is nothing: a mask put −inf there, or the weight is 0
    weights: bool = False  # shares, from 0 to the largest; else negative and positive numbers
    heads: bool = False  # a square for each leading index, such as a head; else all leading axes are rows


PLAIN = Look()


def value_look(card: Card) -> Look:
    """The look of a card's value."""
    y = np.asarray(card.value)
    weights = card.op_name in _WEIGHTS
    if y.ndim < 2 or y.size <= FEW or y.dtype.kind != "f":
        return PLAIN
    empty = 0 if weights else -np.inf
    square = y.shape[-1] == y.shape[-2] > 1 or weights
    return Look(y == empty if y.min() == empty else None, weights, y.ndim > 2 and square)


def gradient_look(value: Look) -> Look:
    """The look of the gradient: what is masked in the value is masked in it."""
    return Look(value.masked, False, value.heads)


def kept_weights(card: Card) -> Any:
    """The attention weights that a fused attention keeps for its backward pass, if it is one."""
    return card.tensor.saved[0] if card.op_name == "attention" and card.tensor.saved else None


def weights_look(weights: Any) -> Look:
    """The look of attention weights."""
    masked = weights == 0
    return Look(masked if masked.any() else None, True, weights.ndim > 2)
