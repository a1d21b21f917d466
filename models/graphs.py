"""The graphs that the demonstrations draw with viz: as a picture, or for a name in .html as a page of steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import tinygrad_edu.functional as F
from models.command import one_line
from models.datasets import Dataset
from models.mlp import MLP
from tinygrad_edu import Tensor, nn

if TYPE_CHECKING:
    import viz


def neuron_tensors() -> dict[str, Tensor]:
    """One neuron, a = relu(w1·x1 + w2·x2 + b), every number of it by name."""
    w1, w2, b = (nn.Parameter(value) for value in (0.2355, 0.0665, 0.0))
    x1, x2 = Tensor(1.0), Tensor(-2.0)
    z = w1 * x1 + w2 * x2 + b
    return {"w1": w1, "x1": x1, "w2": w2, "x2": x2, "b": b, "z": z, "a": z.relu()}


def neuron(path: Path) -> Path:
    """Draw the neuron's chain rule, with the way from a back to w2 marked."""
    import viz

    tensors = neuron_tensors()
    tensors["a"].backward()
    title = "One neuron: a = relu(w₁·x₁ + w₂·x₂ + b)"
    return save(viz.draw(tensors["a"], names=tensors, highlight=tensors["w2"], title=title), path)


def fan_out(path: Path) -> Path:
    """Draw c = a·(a + a): one tensor with three uses, whose gradients are added up."""
    import viz

    a = nn.Parameter(3.0)
    b = a + a
    c = a * b
    c.backward()
    return save(viz.draw(c, names={"a": a, "b": b, "c": c}), path)


def mlp_backward(path: Path, model: MLP, data: Dataset, samples: int = 2) -> Path:
    """Draw the backward pass of the loss of a few samples."""
    import viz

    x = Tensor(data.X_train[:samples])
    logits = model(x)  # (B, D) -> (B, C)
    loss = F.cross_entropy(logits, data.y_train[:samples])  # (B, C) -> ()
    model.zero_grad()
    loss.backward()
    names = {"model": model, "x": x, "logits": logits, "labels": loss.inputs[1], "loss": loss}
    title = f"The backward pass of an MLP, for {samples} samples"
    return save(viz.draw(loss, names=names, title=title), path)


def block_backward(path: Path, block: nn.Module, x: np.ndarray) -> Path:
    """Draw the backward pass of one block for tokens (T, E), with a loss that wants all of its output to be 0."""
    import viz

    tokens = Tensor(x, requires_grad=True)
    output = block(tokens)  # (T, E) -> (T, E)
    loss = F.mse_loss(output, np.zeros_like(x))  # (T, E) -> ()
    loss.backward(retain_grads=True)
    names = {"block": block, "x": tokens, "output": output, "target": loss.inputs[1], "loss": loss}
    title = f"The backward pass of one transformer block, for {len(x)} tokens"
    return save(viz.draw(loss, names=names, title=title), path)


def save(drawing: viz.Drawing, path: Path) -> Path:
    """Write the drawing; its DOT source instead, if there is no layout engine."""
    from viz import MissingEngineError

    try:
        drawing.save(path)
    except MissingEngineError as error:
        print(f"{path.name}: {one_line(error)}; writing the DOT source instead", file=sys.stderr)
        path = path.with_suffix(".dot")
        drawing.save(path)
    return path
