"""The graphs of the golden pictures, after their backward pass, each with the options it is drawn with.

All in float64 and without random numbers, so that the four digits shown are the same on every machine.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_edu as te
import tinygrad_edu.functional as F
from models.transformer import Block, TransformerConfig
from tests.viz.reading import broadcasting, diamond, fan_out, neuron
from tinygrad_edu import Tensor, nn
from tinygrad_edu.nn import Parameter

Picture = tuple[Tensor, dict[str, Any]]


def waves(*shape: int) -> np.ndarray:
    """Numbers between -1 and 1 without any pattern that would cancel."""
    return np.sin(1.7 * np.arange(1, 1 + int(np.prod(shape))) ** 1.3).reshape(shape)


def filled(model: nn.Module) -> nn.Module:
    """A model whose parameters are waves."""
    for number, parameter in enumerate(model.parameters()):
        parameter.data[...] = 0.5 * np.roll(waves(*parameter.shape), number)
    return model


def after_backward(root: Tensor, **options: Any) -> Picture:
    """A picture of it."""
    root.backward()
    return root, options


def mlp() -> Picture:
    """A network with one hidden layer."""
    layers = nn.Linear(2, 4, dtype=np.float64), nn.ReLU(), nn.Linear(4, 1, dtype=np.float64)
    model, x = filled(nn.Sequential(*layers)), Tensor(waves(3, 2), requires_grad=True, name="x")
    return after_backward(F.mse_loss(model(x), Tensor(np.ones((3, 1)), name="t")), names={"mlp": model})


def attention_block() -> Picture:
    """A block of a transformer, for three tokens."""
    sizes = {"vocab_size": 1, "context_length": 3, "embed_dim": 4, "num_heads": 2, "num_layers": 1, "mlp_ratio": 2}
    block = filled(Block(TransformerConfig(**sizes, bias=False), np.float64))
    x = Tensor(waves(3, 4), requires_grad=True, name="x")
    loss = (block(x) * Tensor(np.roll(waves(3, 4), 3), name="d")).sum()
    return after_backward(loss, names={"block": block, "loss": loss})


def double_backward() -> Picture:
    """The slope of a tanh, differentiated again."""
    w, x = Parameter(2.0, name="w", dtype=np.float64), Tensor(0.5, requires_grad=True, name="x", dtype=np.float64)
    y = (w * x).tanh()
    y.name = "y"
    (slope,) = te.grad(y, [x], create_graph=True)
    slope.name = "slope"
    return after_backward(slope, highlight=w)


def masked_softmax() -> Picture:
    """Two heads of causal attention weights."""
    scores = Tensor(waves(2, 3, 3), requires_grad=True, name="S")
    weights = F.softmax(te.where(np.tri(3, dtype=bool), scores, -np.inf))
    weights.name = "A"
    return after_backward((weights * Tensor(np.roll(waves(2, 3, 3), 5), name="d")).sum())


def dead_relu() -> Picture:
    """Three units, of which one is closed for both examples."""
    x = Tensor([[-1.0, 2.0, 3.0], [-2.0, -1.0, 4.0]], requires_grad=True, name="x", dtype=np.float64)
    return after_backward((x.relu() * 2.0).sum())


def nan() -> Picture:
    """The logarithm of a negative number."""
    x = Tensor([1.0, -1.0, 2.0], requires_grad=True, name="x", dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return after_backward((x.log() * 2.0).sum())


class Residual(nn.Module):
    """x + tanh(x Wᵀ + b)."""

    def __init__(self) -> None:
        self.linear = nn.Linear(3, 3, dtype=np.float64)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(x).tanh()


def folded_stack() -> Picture:
    """Twelve equal modules, of which the fifth is open."""
    model = filled(nn.Sequential(*(Residual() for _ in range(12)), nn.Linear(3, 2, dtype=np.float64)))
    loss = (model(Tensor(waves(2, 3), requires_grad=True, name="x")) ** 2).sum()
    return after_backward(loss, names={"net": model}, depth=1, expand=["4"])


PICTURES: dict[str, Callable[[], Picture]] = {
    "neuron": lambda: after_backward(neuron()[0]),
    "fan-out": lambda: after_backward(fan_out()),
    "diamond": lambda: after_backward(diamond()),
    "broadcasting": lambda: after_backward(broadcasting()),
    "mlp": mlp,
    "attention-block": attention_block,
    "double-backward": double_backward,
    "masked-softmax": masked_softmax,
    "dead-relu": dead_relu,
    "nan": nan,
    "folded-stack": folded_stack,
}
