"""Your first neural network, neuron by neuron: slow on purpose, so that each step of the mathematics has its own line.

A **neuron** weighs what comes in, adds them up with a bias, and cuts off what is below zero:

    z = Σ wᵢ · aᵢ + b          the weighted sum of the activations that come in
    a = relu(z) = max(z, 0)    the activation that goes out

A **layer** is a list of neurons that look at the same activations. A **network** is a list of layers, each looking at
the activations of the layer before. To **learn** is to ask of every weight w: if it grew a little, how much would the
loss L change? That is dL/dw, and the chain rule multiplies it together from the links between w and L:

    dL/dw = dL/da · da/dz · dz/dw      where dz/dw is the activation that w was multiplied with

`loss.backward()` does this for all weights at once. Then each weight takes a small step downhill. `models/mlp.py` is
the same network with the neurons of a layer computed together: nothing else is different.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

import tinygrad_edu as te
from models.progress import Progress
from tinygrad_edu import Tensor, nn
from tinygrad_edu.data import batches
from tinygrad_edu.random import generator


class Neuron(nn.Module):
    """a = relu(z) with z = Σ wᵢ · aᵢ + b, for each of B samples at once; `activate=False` leaves the relu out."""

    def __init__(self, inputs: int, activate: bool = True) -> None:
        # Variance 2 / inputs keeps the activations about equally large in every layer (He et al., arXiv:1502.01852).
        self.weights = nn.Parameter(generator().normal(0, math.sqrt(2 / inputs), inputs), dtype=np.float32)
        self.bias = nn.Parameter(0.0)
        self.activate = activate

    def forward(self, activations: Tensor) -> Tensor:
        """The neuron's own activation for each sample."""
        z = (self.weights * activations).sum(axis=-1) + self.bias  # (B, inputs) -> (B,)
        return z.relu() if self.activate else z


class Layer(nn.Module):
    """A list of neurons that all look at the same activations."""

    def __init__(self, inputs: int, outputs: int, activate: bool = True) -> None:
        self.neurons = nn.ModuleList(Neuron(inputs, activate) for _ in range(outputs))

    def forward(self, activations: Tensor) -> Tensor:
        """The activations of all neurons, side by side."""
        return te.stack([neuron(activations) for neuron in self.neurons], axis=-1)  # (B, inputs) -> (B, outputs)


class NeuralNetwork(nn.Module):
    """Layers of the given sizes: NeuralNetwork([64, 16, 10]) has 64 inputs, 16 hidden neurons and 10 outputs.

    The last layer has no relu, so that an output can be any number. To predict a number, read the output. To choose one
    of several classes, give each an output that shall be 1 for its own samples and 0 for the others; the largest wins.

    >>> te.manual_seed(0)
    >>> network = NeuralNetwork([2, 8, 1])
    >>> X, either_but_not_both = [[0, 0], [0, 1], [1, 0], [1, 1]], [0.0, 1.0, 1.0, 0.0]
    >>> losses = network.train(X, either_but_not_both, epochs=200)
    >>> (network.predict(X) > 0.5).ravel().tolist()
    [False, True, True, False]
    """

    def __init__(self, layer_sizes: list[int]) -> None:
        if len(layer_sizes) < 2 or min(layer_sizes) < 1:
            raise ValueError(f"NeuralNetwork: expected at least two layer sizes, each 1 or more, got {layer_sizes}")
        last = len(layer_sizes) - 2
        sizes = enumerate(pairwise(layer_sizes))  # (inputs, outputs) of each layer
        self.layers = nn.ModuleList(Layer(inputs, outputs, activate=i < last) for i, (inputs, outputs) in sizes)
        self.inputs, self.outputs = layer_sizes[0], layer_sizes[-1]

    def forward(self, activations: Tensor) -> Tensor:
        """Pass the activations from layer to layer."""
        if np.shape(activations)[-1:] != (self.inputs,):
            raise ValueError(
                f"NeuralNetwork: expected {self.inputs} numbers for each sample, got shape {np.shape(activations)}"
            )
        for layer in self.layers:
            activations = layer(activations)  # (B, n) -> (B, m)
        return activations

    def train(  # type: ignore[override]  # to learn, as in a textbook; the mode of other modules is not needed here
        self, X: ArrayLike, y: ArrayLike, epochs: int = 20, learning_rate: float = 0.1, batch_size: int = 32
    ) -> list[float]:
        """Learn y from X by gradient descent; an epoch sees each sample once. Returns the mean loss of each epoch.

        X: (N, inputs). y: (N,) classes from 0 to outputs - 1 as integers, or (N, outputs) numbers.
        """
        samples = np.asarray(X, dtype=np.float32)
        targets = self._targets(np.asarray(y))
        losses = []
        with Progress(epochs) as progress:
            for _ in range(epochs):
                total = 0.0
                for inputs, wanted in batches(samples, targets, batch_size=batch_size):
                    total += self.learn(Tensor(inputs), Tensor(wanted), learning_rate) * len(inputs)
                losses.append(total / len(samples))
                progress.step(f"loss {losses[-1]:.4f}")
        return losses

    def learn(self, inputs: Tensor, wanted: Tensor, learning_rate: float) -> float:
        """One step of gradient descent on the mean squared error of a few samples. Returns that error."""
        outputs = self(inputs)  # (B, inputs) -> (B, outputs)
        loss = ((outputs - wanted) ** 2).mean()  # (B, outputs) -> ()
        loss.backward()
        for w in self.parameters():
            if w.grad is not None:
                w.data -= learning_rate * w.grad.data  # downhill
                w.grad = None  # the next step starts from nothing
        return float(loss.item())

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The outputs for each sample: (N, inputs) -> (N, outputs). The class is `predict(X).argmax(axis=1)`."""
        with te.no_grad():  # nothing will be learned from this, so nothing is recorded
            outputs: Tensor = self(Tensor(np.asarray(X, dtype=np.float32)))
        return outputs.data

    def eval(self) -> NeuralNetwork:
        """Nothing to switch: this network computes the same, learning or not."""
        return self

    def _targets(self, y: np.ndarray) -> np.ndarray:
        """What the outputs shall be: (N, outputs). A class becomes a row of zeros with a one in its place."""
        if y.dtype.kind in "iu" and y.ndim == 1 and self.outputs > 1:
            if y.size and not (0 <= y.min() and y.max() < self.outputs):
                raise ValueError(f"train: expected classes from 0 to {self.outputs - 1}, got {y.min()} to {y.max()}")
            return np.eye(self.outputs, dtype=np.float32).take(y, axis=0)  # (N,) -> (N, outputs)
        if y.size != len(y) * self.outputs:
            raise ValueError(
                "train: y must hold a class for each sample, as an integer (y.astype(int)), "
                f"or {self.outputs} numbers, got {y.dtype} {y.shape}"
            )
        return y.astype(np.float32).reshape(len(y), self.outputs)
