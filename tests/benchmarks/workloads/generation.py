"""`generation`: 256 tokens, one after the other, at batch 1, with and without a key/value cache."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.workload import CAPTURED, OURS, REFERENCE, Step, Workload
from tests.benchmarks.workloads import gpt

TOKENS = 256


@dataclass
class Problem:
    """A model, spread widely enough for the best token to be clear, and a prompt."""

    model: gpt.Problem
    prompt: np.ndarray
    tokens: int


def problem(tokens: int = TOKENS) -> Problem:
    """The model of `gpt` with a context that the text fits into."""
    model = gpt.problem(context=tokens + 16)
    rng = np.random.default_rng(1)
    model.weights = {
        name: rng.normal(0, 0.2, w.shape).astype(np.float32) if w.ndim == 2 else w for name, w in model.weights.items()
    }
    return Problem(model, rng.integers(0, model.config.vocab_size, 16), tokens)


def _signature(text: Any) -> float:
    """The whole text as one number, so that two texts can be compared as losses are."""
    text = np.asarray(text, dtype=float)
    return float(text @ np.arange(1, len(text) + 1))


def ours(p: Problem, **options: bool) -> Step:
    model = gpt.our_model(p.model)
    return lambda: _signature(model.generate(p.prompt, p.tokens, temperature=0, **options))


def captured(p: Problem) -> Step:
    return ours(p, capture=True)


def ours_without_cache(p: Problem) -> Step:
    return ours(p, use_cache=False)


# By hand -------------------------------------------------------------------------------------------------------------


class Manual:
    """The model for one token at a time, on vectors: what it has read so far is in `keys` and `values`."""

    def __init__(self, p: Problem) -> None:
        self.config, self.w = p.model.config, p.model.weights
        D, capacity = self.config.embed_dim // self.config.num_heads, len(p.prompt) + p.tokens
        shape = self.config.num_layers, self.config.num_heads, capacity, D
        self.keys, self.values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def linear(self, name, x):
        return self.w[f"{name}.weight"] @ x + self.w[f"{name}.bias"]

    def norm(self, name, x):
        x = x - x.mean()
        x *= 1 / math.sqrt(float(x @ x) / len(x) + 1e-5)
        return x * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def attention(self, layer, x, place):
        name, H = f"blocks.{layer}.attention", self.config.num_heads
        q, k, v = (self.linear(f"{name}.{part}", x).reshape(H, -1) for part in ("query", "key", "value"))  # (H, D)
        keys, values = self.keys[layer, :, : place + 1], self.values[layer, :, : place + 1]  # (H, S, D)
        keys[:, place], values[:, place] = k, v
        scores = (keys @ q[:, :, None])[..., 0]  # (H, S, D) @ (H, D, 1) -> (H, S)
        scores *= 1 / math.sqrt(q.shape[-1])
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores[:, None] @ values).ravel()  # (H, 1, S) @ (H, S, D) -> (E,)
        return self.linear(f"{name}.output", mixed)

    def read(self, token, place):
        """The logits after a token at this place."""
        x = self.w["embed.weight"][token] + self.w["positions.weight"][place]
        for i in range(self.config.num_layers):
            name = f"blocks.{i}"
            x = x + self.attention(i, self.norm(f"{name}.attention_norm", x), place)
            up = self.linear(f"{name}.mlp.up", self.norm(f"{name}.mlp_norm", x))
            with np.errstate(over="ignore"):
                hidden = up / (1 + np.exp(-2 * gpt.ROOT * (up + gpt.CUBIC * up * up * up)))
            x = x + self.linear(f"{name}.mlp.down", hidden)
        return self.w["unembed.weight"] @ self.norm("final_norm", x)


def by_hand(p: Problem) -> Step:
    model = Manual(p)

    def step() -> float:
        text = p.prompt.tolist()
        for place in range(len(text) + p.tokens - 1):
            logits = model.read(text[place], place)
            if place == len(text) - 1:
                text.append(int(logits.argmax()))
        return _signature(text)

    return step


# PyTorch -------------------------------------------------------------------------------------------------------------


def pytorch(p: Problem, use_cache: bool = True) -> Step:
    import torch

    from tests.benchmarks.torch_transformer import TorchTransformer

    model = TorchTransformer(p.model.config)
    model.load_state_dict({name: torch.tensor(value) for name, value in p.model.weights.items()})

    @torch.inference_mode()
    def step() -> float:
        text, cache = torch.from_numpy(p.prompt)[None], None  # (1, T)
        unread = text
        for _ in range(p.tokens):
            logits, cache = model.following(unread if use_cache else text, cache if use_cache else None)
            unread = logits.argmax(dim=-1, keepdim=True)  # (1, V) -> (1, 1)
            text = torch.cat([text, unread], dim=1)
        return _signature(text[0])

    return step


def pytorch_without_cache(p: Problem) -> Step:
    return pytorch(p, use_cache=False)


GENERATION = Workload(
    "generation",
    "256 tokens at batch 1, greedy; the model of gpt, context 272",
    problem,
    {
        OURS: ours,
        CAPTURED: captured,
        "by hand": by_hand,
        f"{OURS}, no cache": ours_without_cache,
        REFERENCE: pytorch,
        f"{REFERENCE}, no cache": pytorch_without_cache,
    },
    tolerance=0.0,
    sizes={"tokens": TOKENS},
    work=TOKENS,
    unit="token",
)
