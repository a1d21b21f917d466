"""`digits` and `mnist`: a small perceptron, where overhead counts, and a larger one, where the products do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from tests.benchmarks.workload import CAPTURED, OURS, REFERENCE, Step, Workload, cycle, torch_batches
from tests.benchmarks.workloads import by_hand as hand

LR = {"SGD": 0.1, "Adam": 1e-3}


@dataclass
class Problem:
    """Weights W0, b0, W1, ... by name, and eight batches (x, classes)."""

    sizes: tuple[int, ...]
    optimizer: str
    weights: dict[str, np.ndarray]
    batches: list[tuple[np.ndarray, np.ndarray]]

    def copy(self) -> Problem:
        """With weights of its own, so that a peer can train them in place."""
        return replace(self, weights={name: w.copy() for name, w in self.weights.items()})

    @property
    def layers(self) -> int:
        """How many linear layers there are."""
        return len(self.sizes) - 1


def problem(sizes: tuple[int, ...], batch: int, optimizer: str) -> Problem:
    """PyTorch's initial weights for these sizes, and random data."""
    rng = np.random.default_rng(0)
    weights = {}
    for i, (n, m) in enumerate(pairwise(sizes)):
        weights[f"W{i}"] = rng.uniform(-(n**-0.5), n**-0.5, (m, n)).astype(np.float32)
        weights[f"b{i}"] = rng.uniform(-(n**-0.5), n**-0.5, m).astype(np.float32)
    batches = [(rng.random((batch, sizes[0]), dtype=np.float32), rng.integers(0, sizes[-1], batch)) for _ in range(8)]
    return Problem(sizes, optimizer, weights, batches)


def _our_step(p: Problem) -> tuple[Callable[..., Any], Callable[[], Any]]:
    import tinygrad_edu as te
    import tinygrad_edu.functional as F
    from models import MLP

    model = MLP(p.sizes)
    model.load_state_dict(dict(zip(model.state_dict(), p.weights.values(), strict=True)))
    optimizer = getattr(te.optim, p.optimizer)(model.parameters(), lr=LR[p.optimizer])

    def train(x: np.ndarray, y: np.ndarray) -> Any:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return train, cycle(p.batches)


def ours(p: Problem) -> Step:
    train, batch = _our_step(p)
    return lambda: train(*batch()).item()


def captured(p: Problem) -> Step:
    import tinygrad_edu as te

    train, batch = _our_step(p)
    train = te.capture(train)
    return lambda: train(*batch()).item()


def by_hand(p: Problem) -> Step:
    p = p.copy()
    w, batch = p.weights, cycle(p.batches)
    optimizer = getattr(hand, p.optimizer)(w, lr=LR[p.optimizer])

    def step() -> float:
        x, y = batch()
        inputs = [x]
        for i in range(p.layers):
            x = hand.linear(x, w[f"W{i}"], w[f"b{i}"])
            if i < p.layers - 1:
                np.maximum(x, 0, out=x)
                inputs.append(x)
        loss, g = hand.cross_entropy(x, y)
        gradients = {}
        for i in reversed(range(p.layers)):
            gradients[f"W{i}"], gradients[f"b{i}"] = g.T @ inputs[i], g.sum(axis=0)
            if i:
                g = g @ w[f"W{i}"]
                g *= inputs[i] > 0
        optimizer.step(gradients)
        return loss

    return step


def pytorch(p: Problem, transform=lambda model: model) -> Step:
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    for i, (n, m) in enumerate(pairwise(p.sizes)):
        layers += [nn.ReLU()] * (i > 0) + [nn.Linear(n, m)]
        layers[-1].weight.data = torch.tensor(p.weights[f"W{i}"])
        layers[-1].bias.data = torch.tensor(p.weights[f"b{i}"])
    model = transform(nn.Sequential(*layers))
    optimizer = getattr(torch.optim, p.optimizer)(model.parameters(), lr=LR[p.optimizer])
    batch = cycle(torch_batches(p.batches))

    def step() -> float:
        x, y = batch()
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_compile(p: Problem) -> Step:
    import torch

    return pytorch(p, torch.compile)


def mygrad(p: Problem) -> Step:
    import mygrad as mg
    from mygrad.nnet.activations import relu
    from mygrad.nnet.losses import softmax_crossentropy

    w, batch = {name: mg.tensor(value) for name, value in p.weights.items()}, cycle(p.batches)
    optimizer = getattr(hand, p.optimizer)({name: t.data for name, t in w.items()}, lr=LR[p.optimizer])

    def step() -> float:
        x, y = batch()
        for i in range(p.layers):
            x = mg.matmul(x, w[f"W{i}"].T) + w[f"b{i}"]
            x = relu(x) if i < p.layers - 1 else x
        loss = softmax_crossentropy(x, y)
        loss.backward()
        optimizer.step({name: t.grad for name, t in w.items()})
        return loss.item()

    return step


def hips_autograd(p: Problem) -> Step:
    import autograd
    import autograd.numpy as anp

    p = p.copy()
    w, batch = p.weights, cycle(p.batches)
    optimizer = getattr(hand, p.optimizer)(w, lr=LR[p.optimizer])

    def loss_of(w: Any, x: Any, y: Any) -> Any:
        for i in range(p.layers):
            x = x @ w[f"W{i}"].T + w[f"b{i}"]
            x = anp.maximum(x, 0) if i < p.layers - 1 else x
        x = x - anp.max(x, axis=-1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(x), axis=-1)) - x[anp.arange(len(y)), y])

    slope = autograd.value_and_grad(loss_of)

    def step() -> float:
        loss, gradients = slope(w, *batch())
        optimizer.step(gradients)
        return float(loss)

    return step


PEERS = {
    OURS: ours,
    CAPTURED: captured,
    "by hand": by_hand,
    REFERENCE: pytorch,
    "torch.compile": torch_compile,
    "MyGrad": mygrad,
    "HIPS autograd": hips_autograd,
}
DIGITS = Workload(
    "digits",
    "MLP 64-32-10, batch 32, SGD",
    problem,
    PEERS,
    sizes={"sizes": (64, 32, 10), "batch": 32, "optimizer": "SGD"},
)
MNIST = Workload(
    "mnist",
    "MLP 784-512-256-10, batch 128, Adam",
    problem,
    PEERS,
    sizes={"sizes": (784, 512, 256, 10), "batch": 128, "optimizer": "Adam"},
)
