"""The multi-layer perceptron: the network of models/neuron.py with all neurons of a layer in one matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tinygrad_edu import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


class MLP(nn.Module):
    """Linear layers with an activation between them: h = activation(x Wᵀ + b), and so on; the last one without.

    sizes: MLP([64, 32, 10]) has 64 inputs, 32 hidden units and 10 outputs, the logits that `F.cross_entropy` expects.

    >>> MLP([64, 32, 10])
    MLP: 2,410 parameters
      (layers) Sequential: 2,410 parameters
        (0) Linear(64 -> 32): 2,080 parameters
        (1) ReLU
        (2) Linear(32 -> 10): 330 parameters
    """

    def __init__(self, sizes: Sequence[int], activation: str = "relu") -> None:
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(
                f"MLP: expected sizes (inputs, ..., outputs), at least two, each 1 or more, got {list(sizes)}"
            )
        if activation not in ACTIVATIONS:
            raise ValueError(f"MLP: there is no activation {activation!r}; known are {', '.join(ACTIVATIONS)}")
        self.layers = nn.Sequential(nn.Linear(sizes[0], sizes[1]))
        for inputs, outputs in pairwise(sizes[1:]):
            self.layers.append(ACTIVATIONS[activation]())
            self.layers.append(nn.Linear(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.layers(x)  # (B, sizes[0]) -> (B, sizes[-1])
        return logits
