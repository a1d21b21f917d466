"""`gpt`: one training step of a small GPT, pre-norm, with tanh-GELU, learned positions and no dropout."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.benchmarks.workload import CAPTURED, OURS, REFERENCE, Step, Workload, cycle, torch_batches
from tests.benchmarks.workloads import by_hand as hand

LR, WEIGHT_DECAY = 1e-3, 1e-2
ROOT, CUBIC = math.sqrt(2 / math.pi), 0.044715  # of the tanh-GELU


@dataclass
class Problem:
    """The plan of the model, its weights by path, and four batches of ids (x, what follows)."""

    config: SimpleNamespace  # the fields of a TransformerConfig, readable without tinygrad_edu
    weights: dict[str, np.ndarray]
    batches: list[tuple[np.ndarray, np.ndarray]]


def problem(
    width: int = 128, depth: int = 4, context: int = 64, batch: int = 12, heads: int = 4, vocabulary: int = 65
) -> Problem:
    """GPT-2's initial weights, and random tokens."""
    import tinygrad_edu as te
    from models import Transformer, TransformerConfig

    te.manual_seed(0)
    config = TransformerConfig(vocabulary, context, width, heads, depth, activation="gelu_tanh")
    rng = np.random.default_rng(0)
    ids = rng.integers(0, vocabulary, (4, batch, context + 1))
    batches = [(np.ascontiguousarray(x[:, :-1]), np.ascontiguousarray(x[:, 1:])) for x in ids]
    return Problem(SimpleNamespace(**asdict(config)), Transformer(config).state_dict(), batches)


# tinygrad_edu --------------------------------------------------------------------------------------------------------


def our_model(p: Problem) -> Any:
    """The transformer with the problem's weights."""
    from models import Transformer, TransformerConfig

    model = Transformer(TransformerConfig(**vars(p.config)))
    model.load_state_dict(p.weights)
    return model


def _our_step(p: Problem) -> tuple[Callable[..., Any], Callable[[], Any]]:
    import tinygrad_edu as te
    import tinygrad_edu.functional as F

    model = our_model(p)
    optimizer = te.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)

    def train(x: np.ndarray, y: np.ndarray) -> Any:
        loss = F.cross_entropy(model(x), y, axis=-1)
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


# By hand -------------------------------------------------------------------------------------------------------------


def _layer_norm(x, weight, bias):
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(1e-5))
    centred *= scale
    return centred * weight + bias, (centred, scale)


def _layer_norm_backward(g, weight, normal, scale):
    """The gradients of x, weight and bias."""
    slope = g * weight
    x = slope - slope.mean(axis=-1, keepdims=True)
    x -= normal * (slope * normal).mean(axis=-1, keepdims=True)
    x *= scale
    return x, (g * normal).sum(axis=(0, 1)), g.sum(axis=(0, 1))


def _gelu(x):
    t = np.tanh(ROOT * (x + CUBIC * x * x * x))
    return 0.5 * x * (1 + t), t


def _gelu_backward(g, x, t):
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (ROOT * (1 + 3 * CUBIC * x * x)))


def _attention(q, k, v, mask):
    scores = q @ k.swapaxes(-1, -2)  # (B, H, T, D) @ (B, H, D, T) -> (B, H, T, T)
    scores *= 1 / math.sqrt(q.shape[-1])
    scores += mask
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores @ v, scores


def _attention_backward(g, q, k, v, weights):
    """The gradients of q, k and v."""
    slope = g @ v.swapaxes(-1, -2)
    slope -= (slope * weights).sum(axis=-1, keepdims=True)
    slope *= weights
    slope *= 1 / math.sqrt(q.shape[-1])
    return slope @ k, slope.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ g


class Manual:
    """Forward and backward pass of the whole model written out. `grads` holds the gradient of each weight."""

    def __init__(self, config: SimpleNamespace, weights: dict[str, np.ndarray]) -> None:
        self.config, self.w = config, {name: w.copy() for name, w in weights.items()}
        self.grads: dict[str, np.ndarray] = {}
        T = config.context_length
        self.mask = np.where(np.tri(T, dtype=bool), 0, -np.inf).astype(np.float32)

    def linear(self, name, x):
        return hand.linear(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"))

    def linear_backward(self, name, g, x):
        x, self.grads[f"{name}.weight"], bias = hand.linear_backward(g, x, self.w[f"{name}.weight"])
        if f"{name}.bias" in self.w:
            self.grads[f"{name}.bias"] = bias
        return x

    def norm(self, name, x):
        return _layer_norm(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def norm_backward(self, name, g, kept):
        x, self.grads[f"{name}.weight"], self.grads[f"{name}.bias"] = _layer_norm_backward(
            g, self.w[f"{name}.weight"], *kept
        )
        return x

    def split(self, x):
        B, T, _ = x.shape
        return x.reshape(B, T, self.config.num_heads, -1).swapaxes(1, 2)  # (B, T, E) -> (B, H, T, D)

    def join(self, x):
        B, H, T, D = x.shape
        return x.swapaxes(1, 2).reshape(B, T, H * D)  # (B, H, T, D) -> (B, T, E)

    def block(self, name, x):
        h, norm = self.norm(f"{name}.attention_norm", x)
        q, k, v = (self.split(self.linear(f"{name}.attention.{part}", h)) for part in ("query", "key", "value"))
        mixed, weights = _attention(q, k, v, self.mask)
        mixed = self.join(mixed)
        x = x + self.linear(f"{name}.attention.output", mixed)
        h2, norm2 = self.norm(f"{name}.mlp_norm", x)
        up = self.linear(f"{name}.mlp.up", h2)
        hidden, t = _gelu(up)
        return x + self.linear(f"{name}.mlp.down", hidden), (h, norm, q, k, v, weights, mixed, h2, norm2, up, hidden, t)

    def block_backward(self, name, g, kept):
        h, norm, q, k, v, weights, mixed, h2, norm2, up, hidden, t = kept
        slope = _gelu_backward(self.linear_backward(f"{name}.mlp.down", g, hidden), up, t)
        slope = self.linear_backward(f"{name}.mlp.up", slope, h2)
        g = g + self.norm_backward(f"{name}.mlp_norm", slope, norm2)
        slope = self.split(self.linear_backward(f"{name}.attention.output", g, mixed))
        total = 0
        slopes = _attention_backward(slope, q, k, v, weights)
        for part, each in zip(("query", "key", "value"), slopes, strict=True):
            total = total + self.linear_backward(f"{name}.attention.{part}", self.join(each), h)
        return g + self.norm_backward(f"{name}.attention_norm", total, norm)

    def step(self, ids, target) -> float:
        x = self.w["embed.weight"][ids] + self.w["positions.weight"]
        kept = []
        for i in range(self.config.num_layers):
            x, block = self.block(f"blocks.{i}", x)
            kept.append(block)
        h, norm = self.norm("final_norm", x)
        logits = self.linear("unembed", h)
        loss, g = hand.cross_entropy(logits.reshape(target.size, -1), target.ravel())
        g = self.norm_backward("final_norm", self.linear_backward("unembed", g.reshape(logits.shape), h), norm)
        for i in reversed(range(self.config.num_layers)):
            g = self.block_backward(f"blocks.{i}", g, kept.pop())
        table = self.grads["embed.weight"] = np.zeros_like(self.w["embed.weight"])
        np.add.at(table, ids, g)
        self.grads["positions.weight"] = g.sum(axis=0)
        return loss


def by_hand(p: Problem) -> Step:
    model, batch = Manual(p.config, p.weights), cycle(p.batches)
    optimizer = hand.Adam(model.w, LR, weight_decay=WEIGHT_DECAY)

    def step() -> float:
        loss = model.step(*batch())
        optimizer.step(model.grads)
        return loss

    return step


# PyTorch -------------------------------------------------------------------------------------------------------------


def pytorch(p: Problem, transform=lambda model: model) -> Step:
    import torch

    from tests.benchmarks.torch_transformer import TorchTransformer

    model = TorchTransformer(p.config)
    model.load_state_dict({name: torch.tensor(value) for name, value in p.weights.items()})
    run, batch = transform(model), cycle(torch_batches(p.batches))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)

    def step() -> float:
        x, y = batch()
        loss = torch.nn.functional.cross_entropy(run(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_compile(p: Problem) -> Step:
    import torch

    return pytorch(p, torch.compile)


# MyGrad and HIPS autograd: one model, in the operations that both have ------------------------------------------------


def _model(np_, w, ids, config, gelu, softmax):
    """The logits, in the functions of a NumPy-like module."""

    def linear(name, x):
        y = np_.matmul(x, w[f"{name}.weight"].T)
        return y + w[f"{name}.bias"] if f"{name}.bias" in w else y

    def norm(name, x):
        centred = x - np_.mean(x, axis=-1, keepdims=True)
        scale = np_.sqrt(np_.mean(centred * centred, axis=-1, keepdims=True) + np.float32(1e-5))
        return centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    def attention(name, x):
        (B, T), E = ids.shape, config.embed_dim
        split = (B, T, config.num_heads, E // config.num_heads)
        q, k, v = (
            np_.transpose(np_.reshape(linear(f"{name}.{part}", x), split), (0, 2, 1, 3))
            for part in ("query", "key", "value")
        )
        scores = np_.matmul(q, np_.transpose(k, (0, 1, 3, 2))) * np.float32(1 / math.sqrt(q.shape[-1]))
        mixed = np_.matmul(softmax(scores + mask), v)
        return linear(f"{name}.output", np_.reshape(np_.transpose(mixed, (0, 2, 1, 3)), (B, T, E)))

    mask = np.where(np.tri(ids.shape[1], dtype=bool), 0, -np.inf).astype(np.float32)
    x = w["embed.weight"][ids] + w["positions.weight"]
    for i in range(config.num_layers):
        x = x + attention(f"blocks.{i}.attention", norm(f"blocks.{i}.attention_norm", x))
        x = x + linear(f"blocks.{i}.mlp.down", gelu(linear(f"blocks.{i}.mlp.up", norm(f"blocks.{i}.mlp_norm", x))))
    return linear("unembed", norm("final_norm", x))


def _gelu_of(np_) -> Callable[[Any], Any]:
    root, cubic, half = np.float32(ROOT), np.float32(CUBIC), np.float32(0.5)
    return lambda x: half * x * (np.float32(1) + np_.tanh(root * (x + cubic * (x * x * x))))


def mygrad(p: Problem) -> Step:
    import mygrad as mg
    from mygrad.nnet.activations import softmax
    from mygrad.nnet.losses import softmax_crossentropy

    w, batch = {name: mg.tensor(value) for name, value in p.weights.items()}, cycle(p.batches)
    optimizer = hand.Adam({name: t.data for name, t in w.items()}, LR, weight_decay=WEIGHT_DECAY)

    def step() -> float:
        x, y = batch()
        logits = _model(mg, w, x, p.config, _gelu_of(mg), softmax)
        loss = softmax_crossentropy(logits.reshape(y.size, -1), y.ravel())
        loss.backward()
        optimizer.step({name: t.grad for name, t in w.items()})
        return loss.item()

    return step


def hips_autograd(p: Problem) -> Step:
    import autograd
    import autograd.numpy as anp

    w, batch = {name: value.copy() for name, value in p.weights.items()}, cycle(p.batches)
    optimizer = hand.Adam(w, LR, weight_decay=WEIGHT_DECAY)

    def softmax(x: Any) -> Any:
        weights = anp.exp(x - anp.max(x, axis=-1, keepdims=True))
        return weights / anp.sum(weights, axis=-1, keepdims=True)

    def loss_of(w: Any, x: Any, y: Any) -> Any:
        logits = anp.reshape(_model(anp, w, x, p.config, _gelu_of(anp), softmax), (y.size, -1))
        logits = logits - anp.max(logits, axis=-1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(logits), axis=-1)) - logits[anp.arange(y.size), y.ravel()])

    slope = autograd.value_and_grad(loss_of)

    def step() -> float:
        loss, gradients = slope(w, *batch())
        optimizer.step(gradients)
        return float(loss)

    return step


GPT = Workload(
    "gpt",
    "4 layers, 4 heads, d=128, T=64, batch 12, vocabulary 65, AdamW",
    problem,
    {
        OURS: ours,
        CAPTURED: captured,
        "by hand": by_hand,
        REFERENCE: pytorch,
        "torch.compile": torch_compile,
        "MyGrad": mygrad,
        "HIPS autograd": hips_autograd,
    },
)
